import pytest


def image(cumulet, name):
    return cumulet("private-image", "get", name, "-o", "json").json


def test_an_image_goes_through_its_life(cumulet):
    assert cumulet("vm", "create", "model", "--image", "micro", "--wait").code == 0
    told = cumulet("private-image", "create", "model", "golden", "--description", "old", "--wait")
    assert "golden is ready after" in told.err
    assert "its VM was" in told.out
    cumulet("private-image", "update", "golden", "new")
    assert (image(cumulet, "golden")["state"], image(cumulet, "golden")["description"]) == ("READY", "new")
    heading, line = cumulet("private-image", "list").out.splitlines()
    assert heading.split() == ["NAME", "STATE", "SIZE", "DESCRIPTION", "NOW"]
    assert line.split()[:4] == ["golden", "READY", "10", "GiB"]
    assert cumulet("vm", "create", "second", "--image", "golden", "--wait").code == 0
    refused = cumulet("private-image", "delete", "golden")
    assert (refused.code, "second-boot" in refused.err) == (1, True)
    cumulet("vm", "delete", "second", "--wait")
    assert "golden is deleted after" in cumulet("private-image", "delete", "golden", "--wait").err
    assert cumulet("private-image", "get", "golden").code == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["get", "nothing"], 3, "there is no private image 'nothing'"),
        (["create", "nobody", "golden"], 3, "there is no VM 'nobody'"),
    ],
)
def test_what_is_wrong_is_said(cumulet, words, code, said):
    told = cumulet("private-image", *words)
    assert told.code == code
    assert said in told.err
