// The guest's screen, keyboard and mouse.

import RFB from "./lib/novnc/core/rfb.js";
import { keepLine, nameIt } from "./line.js";
import { typeText } from "./typing.js";

const byId = (id) => document.getElementById(id);
let screen;

nameIt("screen");
keepLine((socket) => {
  const rfb = (screen = new RFB(byId("screen"), socket));
  rfb.scaleViewport = true;
  rfb.background = "transparent";
  rfb.focus();
  return () => {
    screen = undefined;
    rfb.disconnect();
  };
});

byId("ctrl-alt-del").addEventListener("click", () => {
  screen?.sendCtrlAltDel();
  screen?.focus();
});

byId("paste").addEventListener("click", () => byId("paste-box").showModal());
byId("paste-box").addEventListener("close", async () => {
  const text = byId("text").value;
  byId("text").value = "";
  screen?.focus();
  if (byId("paste-box").returnValue !== "type") return;
  const left = await typeText(text, () => screen);
  if (left) byId("status").textContent = `connected; ${left} characters are not on a US keyboard and were left out`;
});
