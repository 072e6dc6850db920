// A link with a ticket in its fragment, which no browser sends anywhere, signs in by itself.

const ticket = location.hash.slice(1);
const form = document.getElementById("by-ticket");
if (ticket) {
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.ticket.value = ticket;
  form.requestSubmit();
}
