// Follows /tail/stream while the page is in sight. Rows come as HTML that the server made, like the page's own.
"use strict";
(() => {
  const MOST_ROWS = 200;
  const part = (name) => document.getElementById(`tail-${name}`);
  const [rows, state, left, trouble, pause] = ["rows", "state", "left", "trouble", "pause"].map(part);
  const address = new URL(document.getElementById("tail").dataset.stream, location.href);
  let source = null, paused = false, leftOut = 0;

  function take(event) {
    const news = JSON.parse(event.data);
    address.searchParams.set("after", event.lastEventId);
    rows.insertAdjacentHTML("afterbegin", news.rows);
    while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
    part("nothing").hidden = rows.childElementCount > 0;
    leftOut += news.left_out;
    left.textContent = leftOut ? `${leftOut.toLocaleString("en")} more came than are shown.` : "";
    trouble.textContent = news.trouble ?? "";
    trouble.hidden = news.trouble === null;
  }

  function open() {
    if (source !== null || paused || document.hidden) return;
    source = new EventSource(address);
    source.onopen = () => { state.textContent = "Live."; };
    source.onmessage = take;
    source.onerror = () => {
      const over = source.readyState === EventSource.CLOSED;
      state.textContent = over ? "Refused: load the page again." : "The connection is lost: trying again.";
      if (over) { paused = true; close(); pause.textContent = "Go on"; }
    };
  }

  function close() {
    if (source !== null) source.close();
    source = null;
  }

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    state.textContent = paused ? "Paused." : "";
    if (paused) close(); else open();
  });
  // A page out of sight takes none of the few connections that a browser has, and nothing is read for it.
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else open(); });
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  part("reload").hidden = true;
  pause.hidden = false;
  state.textContent = "";
  open();
})();
