// The line to a console: a websocket that shows the ticket first and says in words why it ended.

const SILENT_ENDS = {
  1009: "What was sent was too large. Reconnect to go on.",
  1012: "The server restarts. Reconnect in a moment.",
};
const BROKEN = "The connection broke. Reconnect; if that fails, the server or the way to it is down.";

const byId = (id) => document.getElementById(id);
const [project, vm] = location.pathname.split("/").slice(-3).map(decodeURIComponent);

/** Keep a console open: `open(socket)` is called when its bytes begin, and gives a function that ends what it began. */
export function keepLine(open, { hint = "connected" } = {}) {
  let close = () => {};
  let current;

  function connect() {
    close();
    close = () => {};
    current?.close();
    const socket = (current = new WebSocket(socketUrl()));
    socket.binaryType = "arraybuffer";
    show("connecting", "connecting…");
    socket.addEventListener("open", () => socket.send(location.hash.slice(1)));
    socket.addEventListener("close", (event) => {
      if (socket === current) end(event.reason || SILENT_ENDS[event.code] || BROKEN);
    });
    socket.onmessage = () => {
      socket.onmessage = null;
      show("open", hint);
      close = open(socket);
    };
  }

  function end(words) {
    close();
    close = () => {};
    show("ended", "not connected", words);
  }

  byId("reconnect").addEventListener("click", connect);
  byId("message").querySelector("button").addEventListener("click", connect);
  byId("full-screen").addEventListener("click", toggleFullScreen);
  byId("other").hash = location.hash;
  window.addEventListener("hashchange", () => location.reload());
  connect();
}

/** Name the VM in the page's title and bar. */
export function nameIt(what) {
  document.title = `${vm}: ${what}`;
  byId("name").textContent = project === "default" ? vm : `${project} / ${vm}`;
}

function socketUrl() {
  const url = new URL(`${location.pathname}/socket`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

function show(state, status, words = "") {
  document.body.dataset.state = state;
  byId("status").textContent = status;
  byId("message").hidden = !words;
  byId("message").querySelector("p").replaceChildren(...told(words));
  for (const button of document.querySelectorAll("button.live")) button.disabled = state !== "open";
}

/** What has happened, in bold; then what to do, with commands written out for this VM. */
function told(words) {
  const [what, ...advice] = words.split(/(?<=\.) /);
  return [element("strong", what), ...advice.join(" ").split(/(`[^`]+`)/).map(commandOrText)];
}

function commandOrText(part) {
  return part.startsWith("`") ? element("code", `${part.slice(1, -1)} ${vm}`) : part;
}

function element(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen();
}
