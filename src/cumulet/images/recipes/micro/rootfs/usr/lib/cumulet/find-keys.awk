# Prints the public SSH keys of a cloud-config: plain or quoted in YAML, or JSON with its escapes undone.
function is_key(text) { return text ~ /^(ssh-|ecdsa-|sk-)[a-z0-9@.-]* ./ }

function tell(text) {
    gsub(/\\\\/, "\001", text)
    gsub(/\\"/, "\"", text)
    gsub(/\\\//, "/", text)
    gsub(/\001/, "\\\\", text)
    if (is_key(text)) print text
}

{
    sub(/\r$/, "")
    plain = $0
    sub(/^[- ]*/, "", plain)
    if (is_key(plain)) { print plain; next }
    if (plain ~ /^'/) {
        sub(/^'/, "", plain)
        sub(/' *$/, "", plain)
        gsub(/''/, "'", plain)
        if (is_key(plain)) print plain
        next
    }
    while (match($0, /"([^"\\]|\\.)*"/)) {
        tell(substr($0, RSTART + 1, RLENGTH - 2))
        $0 = substr($0, RSTART + RLENGTH)
    }
}
