// What pages do beyond forms and links: each works without this, only less well.

const byId = (id) => document.getElementById(id);
const here = (selector, root = document) => [...root.querySelectorAll(selector)];

/* Times in the viewer's zone */
const DAY = 24 * 3600 * 1000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

function showTimes(root = document) {
  for (const time of here("time", root)) {
    const at = new Date(time.dateTime);
    const text = Math.abs(Date.now() - at) < DAY && at.getDate() === new Date().getDate() ? `today ${clock.format(at)}` : date.format(at);
    if (time.textContent !== text) time.textContent = text;
    time.title = whole.format(at);
  }
}
showTimes();

/* Whether the page is live: it is for as long as somebody sees it, and no longer once it is refused */
const line = byId("live-line");
const REFUSED = { 401: "signed out: reload to sign in", 403: "not for you any more", 404: "gone" };
let refused = "";
let isFollowed = false;
function showLive(tone, words) {
  const lamp = byId("live-status");
  lamp.querySelector(".dot").dataset.tone = tone;
  lamp.lastElementChild.textContent = words;
}
function heard(status) {
  refused = REFUSED[status] ?? "";
  if (refused) isFollowed = false;
  if (refused) showLive("bad", refused);
  else showLive("wait", "reconnecting…");
}
function follow() {
  if (!line || document.hidden || isFollowed) return;
  isFollowed = true;
  htmx.trigger(line, "seen"); // which begins the stream; it pauses and goes on by itself
}
function begin() {
  follow();
  document.addEventListener("visibilitychange", follow);
}
document.addEventListener("htmx:after:process", begin, { once: true });
line?.addEventListener("htmx:sse:before:connection", (event) => refused && event.preventDefault());
line?.addEventListener("htmx:sse:after:connection", () => showLive("good", "live"));
line?.addEventListener("htmx:sse:error", (event) => heard(event.detail.status));
line?.addEventListener("htmx:response:error", (event) => heard(event.detail.ctx.response.status));
document.addEventListener("htmx:sse:after:message", () => showTimes());
document.addEventListener("htmx:after:swap", () => showTimes());

/* Presets: a button that fills in fields */
document.addEventListener("click", (event) => {
  const preset = event.target.closest("[data-set]");
  if (!preset) return;
  for (const [name, value] of Object.entries(JSON.parse(preset.dataset.set))) byId(name).value = value;
  byId("vcpus").dispatchEvent(new Event("change", { bubbles: true }));
});

/* Clicks */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-do]");
  for (const open of here("details.more[open], details.switcher[open]")) if (!open.contains(event.target)) open.open = false;
  if (!button) return;
  if (button.dataset.copy !== undefined) {
    await navigator.clipboard.writeText(button.dataset.copy || button.parentElement.querySelector("[data-text]").textContent);
    button.dataset.done = "";
    setTimeout(() => delete button.dataset.done, 1200);
  }
  if (button.dataset.do === "scheme") turnScheme();
  if (button.dataset.do === "menu") byId("side").classList.toggle("open");
  if (button.dataset.do === "find") openPalette();
  if (button.dataset.do === "keys") {
    palette.close();
    showKeys();
  }
});

function turnScheme() {
  const root = document.documentElement;
  const now = root.dataset.scheme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.scheme = now === "dark" ? "light" : "dark";
  localStorage.setItem("scheme", root.dataset.scheme);
}

/* Keys: / filters, c creates, g and a letter goes somewhere, Ctrl-K finds, ? tells them all */
let went = 0;
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") {
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.key === "Escape") {
    byId("side")?.classList.remove("open");
    for (const open of here("details.more[open], details.switcher[open]")) open.open = false;
  }
  if (event.ctrlKey && event.key === "Enter" && document.activeElement.form) {
    event.preventDefault(); // a browser would send it as well, and then neither arrives
    document.activeElement.form.requestSubmit();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  if (event.key === "?") {
    event.preventDefault();
    showKeys();
    return;
  }
  const keys = Date.now() - went < 1000 ? `g ${event.key}` : event.key;
  went = event.key === "g" ? Date.now() : 0;
  const target = here("[data-key]").find((one) => one.dataset.key === keys);
  if (!target) return;
  event.preventDefault();
  if (target.matches("input")) target.focus();
  else target.click();
});

const shortcuts = byId("shortcuts");
const EVERYWHERE = [["Ctrl K", "Find or do anything"], ["Ctrl Enter", "Send the form"], ["Esc", "Close what is open"], ["?", "Show these keys"]];

function showKeys() {
  if (!shortcuts || shortcuts.open || palette.open) return;
  const ownOnes = here("[data-key]").map((one) => [one.dataset.key, one.dataset.does ?? one.getAttribute("aria-label") ?? one.textContent.trim()]);
  shortcuts.querySelector("dl").replaceChildren(...[...ownOnes, ...EVERYWHERE].map(([keys, does]) => {
    const row = document.createElement("div");
    const name = document.createElement("dt");
    name.append(...keys.split(" ").map((key) => Object.assign(document.createElement("kbd"), { textContent: key })));
    row.append(name, Object.assign(document.createElement("dd"), { textContent: does }));
    return row;
  }));
  shortcuts.showModal();
}
shortcuts?.addEventListener("click", (event) => event.target === shortcuts && shortcuts.close());

/* Find or do anything */
const palette = byId("palette");
let asked = 0;

function openPalette() {
  if (!palette || palette.open) return;
  palette.showModal();
  palette.querySelector("input").value = "";
  find("");
}

async function find(words) {
  const turn = (asked += 1);
  const places = here("#side nav a, [data-does]").map((one) => ({ name: one.dataset.does ?? one.querySelector(".word").textContent, what: one.dataset.does ? "do" : "go to", url: one.href }));
  const near = places.filter((one) => one.url && one.name.toLowerCase().includes(words.toLowerCase()));
  let things = [];
  if (words) {
    const answer = await fetch(`/find?${new URLSearchParams({ q: words, project: palette.dataset.project })}`);
    if (answer.ok) things = await answer.json();
  }
  if (turn === asked) showFound([...things, ...near]);
}

function showFound(found) {
  const list = palette.querySelector("ul");
  list.replaceChildren(...found.slice(0, 12).map(({ name, what, url }, at) => {
    const item = Object.assign(document.createElement("li"), { role: "option" });
    item.setAttribute("aria-selected", at === 0);
    const link = Object.assign(document.createElement("a"), { href: url, textContent: name, tabIndex: -1 });
    link.append(Object.assign(document.createElement("span"), { textContent: what }));
    item.append(link);
    return item;
  }));
}

palette?.querySelector("input").addEventListener("input", (event) => find(event.target.value.trim()));
palette?.addEventListener("click", (event) => event.target === palette && palette.close());
palette?.addEventListener("keydown", (event) => {
  const items = here("li", palette);
  const at = items.findIndex((one) => one.ariaSelected === "true");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && items.length) {
    event.preventDefault();
    items[at].ariaSelected = "false";
    items[(at + step + items.length) % items.length].ariaSelected = "true";
  }
  if (event.key === "Enter" && items[at]) {
    event.preventDefault();
    items[at].querySelector("a").click();
  }
});
