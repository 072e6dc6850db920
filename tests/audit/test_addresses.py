"""Where requests come from: a proxy is believed if the operator says so, and nobody else."""

import pytest
from tests.rest.conftest import serving
from tests.rest.toys import where_am_i

from cumulet.operation import Access, declared
from cumulet.projects import admit
from cumulet.rest import create_app
from cumulet.serve.build import behind_proxies
from cumulet.settings import read_settings

FORGED = "203.0.113.9"
CLIENT = "198.51.100.7"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("trusted", "address", "scheme"),
    [
        ("", "127.0.0.1", "http"),
        ("10.0.0.1", "127.0.0.1", "http"),
        ("127.0.0.1", CLIENT, "https"),
        ("10.0.0.1, 127.0.0.0/8", CLIENT, "https"),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_came_from(cloud, ask, told, trusted, address, scheme):
    settings = read_settings({"CUMULET_TRUSTED_PROXIES": trusted})
    operations = [declared("POST /v1/here", where_am_i, access=Access.KEY)]
    app = create_app(cloud.database, admit=admit, provided={}, operations=operations)
    with serving(behind_proxies(settings, app)) as url:
        headers = {
            "x-forwarded-for": f"{FORGED}, {CLIENT}",
            "x-forwarded-proto": "https",
            "host": "a.example",
        }
        answer = ask("ann", "POST", f"{url}/v1/here", headers=headers)
    assert answer.json()["place"] == f"{scheme}://a.example"
    assert [one.address for one in told()] == [address]
