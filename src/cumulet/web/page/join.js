// A link with a code in its fragment, which no browser sends anywhere, fills it in.

const code = location.hash.slice(1);
const field = document.getElementById("invitation");
if (code && field) {
  history.replaceState(null, "", location.pathname + location.search);
  field.value = code;
}
