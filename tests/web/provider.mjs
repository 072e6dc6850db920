// An identity provider on loopback, whose people are whoever their login says: `ann` has verified ann@example.org,
// so has `ann-2`, another person, later; `eve-unverified` has an address that nobody has seen to.

import Provider from "oidc-provider";

const [port, secret] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "cumulet",
    client_secret: secret,
    application_type: "native",
    redirect_uris: ["http://127.0.0.1/login/sso/done"],
    response_types: ["code"],
    grant_types: ["authorization_code"],
    token_endpoint_auth_method: "client_secret_basic",
  }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["given_name", "family_name"] },
  pkce: { required: () => true },
  cookies: { keys: ["of the tests"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id.split("-")[0]}@example.org`,
      email_verified: !id.endsWith("unverified"),
      given_name: id.split("-")[0],
      family_name: "Provided",
    }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
