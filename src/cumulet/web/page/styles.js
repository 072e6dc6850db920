// Styles that a library writes into the page itself, as the page's policy allows them: as style sheets, and piece by piece.

const create = document.createElement.bind(document);

document.createElement = (tag, options) => (tag === "style" ? asSheet(create("template")) : create(tag, options));

HTMLSpanElement.prototype.setAttribute = function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};

function asSheet(element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text) });
  element.remove = () => document.adoptedStyleSheets.splice(document.adoptedStyleSheets.indexOf(sheet), 1);
  return element;
}
