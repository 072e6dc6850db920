// The guest's serial console as a terminal. The line has no size, so the terminal has the one that guests assume.

import { Terminal } from "./lib/xterm/xterm.mjs";
import { keepLine, nameIt } from "./line.js";
import "./styles.js"; // for the terminal

const encoder = new TextEncoder();
const PASTED_AT_ONCE = 4096; // bytes

const terminal = new Terminal({ cols: 80, rows: 24, scrollback: 10000, cursorBlink: true, fontSize: 16 });
let line;

terminal.open(document.getElementById("terminal"));
terminal.onData((text) => send(encoder.encode(text)));
terminal.onBinary((text) => send(Uint8Array.from(text, (character) => character.charCodeAt(0))));

nameIt("serial console");
keepLine(
  (socket) => {
    line = socket;
    socket.onmessage = (event) => terminal.write(new Uint8Array(event.data));
    terminal.focus();
    return () => {
      line = undefined;
      socket.onmessage = null;
    };
  },
  { hint: "connected; press Enter for a prompt" },
);

function send(bytes) {
  for (let at = 0; at < bytes.length; at += PASTED_AT_ONCE) line?.send(bytes.subarray(at, at + PASTED_AT_ONCE));
}
