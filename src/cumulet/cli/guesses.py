"""Words that are no command, and which command was meant: other clouds have other words for the same things."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

SYNONYMS: Final[Mapping[str, str]] = {
    word: ours
    for ours, words in {
        "vm": "instance server machine virtual-machine droplet linode compute guest node domain",
        "disk": "volume storage block-storage",
        "private-image": "custom-image template",
        "data-center": "datacenter region zone location",
        "machine-type": "flavor flavour instance-type server-type size plan type",
        "network": "net subnet vpc",
        "security-group": "firewall secgroup sg",
        "ssh-key": "key keypair sshkey key-pair",
        "context": "config profile remote endpoint",
        "list": "ls all index",
        "get": "show describe info inspect view status",
        "create": "new add launch run provision make deploy up",
        "delete": "rm remove destroy terminate kill del purge",
        "start": "boot resume poweron power-on on",
        "stop": "shutdown halt poweroff power-off off down suspend pause",
        "reboot": "restart reset",
        "ssh": "enter login exec shell",
        "log": "logs console-log",
        "timeline": "events history activity",
        "monitor": "stats top metrics usage",
        "metadata": "label labels tag tags",
        "resize": "scale update modify edit",
        "connect": "vnc screen",
        "authorize": "keys",
        "screenshot": "picture",
        "snapshot": "backup",
    }.items()
    for word in words.split()
}
"""From other clouds' words to ours."""


def guess(
    chain: Sequence[str], words: Sequence[str], here: Iterable[str], verbs_of_vms: Iterable[str]
) -> str:
    """Say that the first word is no command behind `chain`, where `here` are some, and what was meant by it if that is clear."""
    unknown, *rest = words
    known = sorted(name for name in here if not name.startswith("-"))
    refusal = f"there is no command `{' '.join(('cumulet', *chain, unknown))}`"
    if found := nearest(unknown, here):
        verb = verb_of(rest[0]) if rest and not chain else ""
        return f"{refusal}; did you mean `{' '.join(filter(None, ('cumulet', *chain, found, verb)))}`?"
    if not chain and (found := nearest(unknown, verbs_of_vms)):
        return f"{refusal}; did you mean `cumulet vm {found}`?"
    return f"{refusal}; there are {', '.join(known)}"


def verb_of(word: str) -> str:
    """Give our own word for what is to be done with a thing; `""` if it is none."""
    verb = SYNONYMS.get(word, word)
    return verb if verb in SYNONYMS.values() else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Choose the command that a word means, one of them written wrongly included; `""` if none."""
    by_plain = {name.replace("-", ""): name for name in known if name != "-h"}
    word = word.lower()
    for candidate in (word, word.removesuffix("s")):
        if (ours := SYNONYMS.get(candidate, candidate)).replace("-", "") in by_plain:
            return by_plain[ours.replace("-", "")]
    if word in SYNONYMS:
        return ""  # a word of others', written as they write it
    close = difflib.get_close_matches(word.replace("-", "").replace("_", ""), by_plain, n=1, cutoff=0.7)
    return by_plain[close[0]] if close else ""
