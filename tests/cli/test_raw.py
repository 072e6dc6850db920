import json


def test_a_raw_call_prints_the_answer_of_the_api(cumulet):
    assert cumulet("api", "get", "/v1/projects/default/count-vms").json.keys() == {"count"}


def test_a_body_comes_from_the_command_a_file_or_stdin(cumulet, tmp_path):
    bodies = {name: json.dumps({"id": name}) for name in ("by-word", "by-file", "by-stdin")}
    file = tmp_path / "body.json"
    file.write_text(bodies["by-file"])
    assert cumulet("api", "POST", "/v1/projects", bodies["by-word"]).json["id"] == "by-word"
    assert cumulet("api", "POST", "/v1/projects", f"@{file}").json["id"] == "by-file"
    assert cumulet("api", "POST", "/v1/projects", "-", stdin=bodies["by-stdin"]).json["id"] == "by-stdin"


def test_what_cannot_be_sent_is_refused_before_it_is(cumulet):
    assert "not valid JSON" in cumulet("api", "POST", "/v1/projects", "{").err
    assert "cannot read 'nowhere'" in cumulet("api", "POST", "/v1/projects", "@nowhere").err
    assert "begins with '/'" in cumulet("api", "GET", "v1/projects").err


def test_a_refused_raw_call_ends_as_any_other(cumulet):
    done = cumulet("api", "POST", "/v1/projects", '{"id": "Not-So"}')
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("cumulet: id: 'Not-So' is not accepted")
