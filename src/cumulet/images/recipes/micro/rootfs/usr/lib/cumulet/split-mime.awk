# Splits a MIME multipart message into files FOLDER/NUMBER.SUBTYPE, undoing base64.
function finish() { if (writer != "") close(writer); writer = "" }

{ sub(/\r$/, "") }

boundary == "" {
    if (match($0, /boundary="[^"]*"/)) boundary = "--" substr($0, RSTART + 10, RLENGTH - 11)
    else if (match($0, /boundary=[^ ;]*/)) boundary = "--" substr($0, RSTART + 9, RLENGTH - 9)
    next
}

$0 == boundary || $0 == boundary "--" {
    finish()
    in_head = ($0 == boundary)
    subtype = "plain"
    base64 = 0
    number++
    next
}

in_head && tolower($0) ~ /^content-type:/ { split($2, type, "[/;]"); subtype = type[2]; next }
in_head && tolower($0) ~ /^content-transfer-encoding: *base64/ { base64 = 1; next }
in_head && $0 == "" {
    in_head = 0
    writer = (base64 ? "base64 -d > " : "cat > ") folder "/" sprintf("%03d", number) "." subtype
    next
}

writer != "" { print | writer }

END { finish() }
