// Text typed key by key, as a person would on a US keyboard: a guest's boot menu knows no clipboard.

const PAUSE = 45; // milliseconds a key: an emulated keyboard holds few
const SHIFT = [0xffe1, "ShiftLeft"];
const ENTER = "\n";
const PLAIN = {
  "`": "Backquote", "-": "Minus", "=": "Equal", "[": "BracketLeft", "]": "BracketRight", "\\": "Backslash",
  ";": "Semicolon", "'": "Quote", ",": "Comma", ".": "Period", "/": "Slash", " ": "Space", "\t": "Tab",
  [ENTER]: "Enter",
};
const SHIFTED = {
  "~": "Backquote", "_": "Minus", "+": "Equal", "{": "BracketLeft", "}": "BracketRight", "|": "Backslash",
  ":": "Semicolon", '"': "Quote", "<": "Comma", ">": "Period", "?": "Slash",
  ")": "Digit0", "!": "Digit1", "@": "Digit2", "#": "Digit3", "$": "Digit4", "%": "Digit5", "^": "Digit6",
  "&": "Digit7", "*": "Digit8", "(": "Digit9",
};
const SYMBOLS = { [ENTER]: 0xff0d, "\t": 0xff09 };

/** Type a text into the screen that `screen()` gives, for as long as it is the same; gives how many characters had no key. */
export async function typeText(text, screen) {
  const first = screen();
  let left = 0;
  for (const character of text.replace(/\r\n?/g, ENTER)) {
    if (!first || screen() !== first) break;
    const key = keyOf(character);
    if (key) press(first, character, key);
    else left += 1;
    await new Promise((done) => setTimeout(done, PAUSE));
  }
  return left;
}

function press(screen, character, { code, shifted }) {
  if (shifted) screen.sendKey(...SHIFT, true);
  screen.sendKey(SYMBOLS[character] ?? character.codePointAt(0), code);
  if (shifted) screen.sendKey(...SHIFT, false);
}

function keyOf(character) {
  if (/[a-z]/.test(character)) return { code: `Key${character.toUpperCase()}`, shifted: false };
  if (/[A-Z]/.test(character)) return { code: `Key${character}`, shifted: true };
  if (/[0-9]/.test(character)) return { code: `Digit${character}`, shifted: false };
  if (character in PLAIN) return { code: PLAIN[character], shifted: false };
  return character in SHIFTED ? { code: SHIFTED[character], shifted: true } : undefined;
}
