// Light or dark as the viewer chose here before; run before anything is drawn.
const chosen = localStorage.getItem("scheme");
if (chosen) document.documentElement.dataset.scheme = chosen;
