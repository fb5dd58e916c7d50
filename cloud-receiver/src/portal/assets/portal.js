// Live updates, and nothing else: every page reads the same without this file.
//
// The receiver says over one event stream that something changed; this module fetches the one card it concerns
// and puts it in its place. After a silence it may have missed something, so it fetches the whole list again.

const language = document.documentElement.lang === "en" ? "en" : "ja";

keepAgesTicking();
offerPrinting();
listenToKeys();
listenToFingers();
lookCloser();
zoomByDrawing();
reopenWhenOnline();
if (document.body.dataset.live) listen(document.body.dataset.live);
if ("serviceWorker" in navigator) {
  // Where the certificate is not trusted there is no worker, and nothing is lost but the offline page.
  navigator.serviceWorker.register("/offline-worker.js").catch(() => {});
}

// --- The stream -----------------------------------------------------------------------------------------------

function listen(address) {
  let source;
  let missed = false;
  let pause = 1000;
  let leaving = false;

  const open = () => {
    source = new EventSource(address);
    source.addEventListener("ready", () => {
      pause = 1000;
      showConnection(true);
      if (missed) reloadParts();
      missed = false;
    });
    source.addEventListener("reload", reloadParts);
    source.addEventListener("news", (message) => JSON.parse(message.data).forEach(tell));
    source.addEventListener("error", () => {
      if (leaving) return;
      missed = true;
      showConnection(false);
      // Refused, not cut off: the browser has given up. The session may have ended.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(reopen, pause);
        pause = Math.min(pause * 2, 30000);
      }
    });
  };

  const reopen = async () => {
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
    if (answer && answer.type === "opaqueredirect") location.reload();
    else open();
  };

  addEventListener("pagehide", () => {
    leaving = true;
    source.close();
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    leaving = false;
    missed = true;
    open();
  });
  open();
}

let banner;
function showConnection(up) {
  document.body.classList.toggle("is-live", up);
  clearTimeout(banner);
  const note = document.querySelector(".connection");
  if (!note) return;
  if (up) note.hidden = true;
  // A blink of the network is not worth a word.
  else banner = setTimeout(() => (note.hidden = false), 2000);
}

// --- News -----------------------------------------------------------------------------------------------------

function tell(news) {
  if (news.type === "event") {
    for (const list of document.querySelectorAll("[data-events]")) ask(`event ${news.id}`, () => updateEvent(list, news.id));
    const page = document.querySelector(`[data-event-page="${CSS.escape(news.id)}"]`);
    if (page) ask("event page", updateEventPage);
    if (document.querySelector("[data-strip]")) ask("strip", updateStrip);
  } else if (news.type === "more") {
    reloadSoon();
  } else if (news.type === "gap") {
    // Gaps are merged with their neighbours, so the page asks for all of them.
    if (document.querySelector("[data-strip]")) reloadParts();
  } else if (news.type === "corrected") {
    // Times of any number of things have moved, and with them their places.
    reloadParts();
  } else if (news.type === "camera") {
    const card = document.querySelector(`[data-camera="${CSS.escape(news.camera)}"]`);
    if (card) ask(`camera ${news.camera}`, () => updateCamera(news.camera));
  }
}

// What changes faster than anybody reads is not fetched piece by piece: after a burst, so many pieces a second, and
// otherwise the whole page once in a while. Each page waits for a time of its own, so that not all come at one moment.
const pace = { burst: 30, perSecond: 3, left: 30, since: performance.now() };
let reloading;

function ask(name, job) {
  if (reloading) return;
  const now = performance.now();
  pace.left = Math.min(pace.burst, pace.left + ((now - pace.since) / 1000) * pace.perSecond);
  pace.since = now;
  if (pace.left < 1) return reloadSoon();
  pace.left -= 1;
  once(name, job);
}

function reloadSoon() {
  reloading ??= setTimeout(() => {
    reloading = undefined;
    reloadParts();
  }, 3000 + Math.random() * 3000);
}

// Runs one job of a name at a time; news that come meanwhile make it run once more.
const running = new Map();
async function once(name, job) {
  if (running.has(name)) {
    running.set(name, true);
    return;
  }
  do {
    running.set(name, false);
    try {
      await job();
    } catch {
      // The next news, or the reload after a silence, will mend it.
    }
  } while (running.get(name));
  running.delete(name);
}

async function fragment(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (answer.status === 401) location.reload();
  if (answer.status !== 200) return null;
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();
  return holder.content;
}

async function updateEvent(list, id) {
  const query = list.dataset.query;
  const part = await fragment(`/events/${encodeURIComponent(id)}/card${query ? `?${query}` : ""}`);
  if (!part) return;
  const hour = part.querySelector("[data-hour]");
  const card = part.querySelector("[data-event]");
  const old = list.querySelector(`[data-event="${CSS.escape(id)}"]`);
  if (old) {
    replaceKeepingPicture(old, card);
    return;
  }
  const last = [...list.querySelectorAll("[data-event]")].at(-1);
  const most = Number(list.dataset.most) || 200;
  const full = list.querySelectorAll("[data-event]").length >= most;
  // Older than all that is shown: it belongs on a later page.
  if (last && full && Number(card.dataset.opened) < Number(last.dataset.opened)) return;

  document.querySelectorAll("[data-empty]").forEach((empty) => empty.remove());
  card.classList.add("arrives");
  const group = [...list.querySelectorAll("[data-hour]")].find((other) => other.dataset.hour <= hour.dataset.hour);
  if (group && group.dataset.hour === hour.dataset.hour) {
    const cards = group.querySelector(".cards");
    const next = [...cards.children].find((other) => Number(other.dataset.opened) <= Number(card.dataset.opened));
    cards.insertBefore(card, next ?? null);
  } else {
    list.insertBefore(hour, group ?? null);
  }
  if (full && last) {
    const emptied = last.closest("[data-hour]");
    last.remove();
    if (!emptied.querySelector("[data-event], [data-gap]")) emptied.remove();
  }
}

// The strip of the day. What the reader has opened stays open.
async function updateStrip() {
  const strip = document.querySelector("[data-strip]");
  const query = strip?.dataset.query;
  const next = strip && (await fragment(`/events/strip${query ? `?${query}` : ""}`));
  if (!next) return;
  const opened = strip.querySelector("details")?.open;
  if (opened && next.querySelector("details")) next.querySelector("details").open = true;
  strip.replaceChildren(next);
}

async function updateCamera(id) {
  const part = await fragment(`/cameras/${encodeURIComponent(id)}/card`);
  if (!part) return;
  const card = part.querySelector("[data-camera]");
  const old = document.querySelector(`[data-camera="${CSS.escape(id)}"]`);
  if (old && card) await replaceWhenPictureIsReady(old, card);
  for (const swap of part.querySelectorAll("template[data-swap]")) {
    document.querySelector(`[data-part="${swap.dataset.swap}"]`)?.replaceChildren(swap.content);
  }
}

// The page of an event that goes on: everything but what the reader has opened or switched.
async function updateEventPage() {
  const next = await wholePage();
  const now = document.querySelector("[data-event-page]");
  const then = next?.querySelector("[data-event-page]");
  if (!now || !then || now.isEqualNode(then)) return;
  const switches = [...now.querySelectorAll("input[type=checkbox]")].map((box) => [box.name, box.checked]);
  const opened = now.querySelector("details")?.open;
  for (const [name, checked] of switches) {
    const box = then.querySelector(`input[name="${name}"]`);
    if (box) box.checked = checked;
  }
  if (opened && then.querySelector("details")) then.querySelector("details").open = true;
  await pictureReady(then.querySelector(".layers img"));
  now.replaceWith(then);
  offerPrinting();
}

// Fetches this page again and takes over its changing parts.
function reloadParts() {
  return once("all parts", async () => {
    const parts = document.querySelectorAll("[data-part], .cameras, [data-event-page]");
    const next = parts.length && (await wholePage());
    if (!next) return;
    for (const part of parts) {
      const twin = part.dataset.part
        ? next.querySelector(`[data-part="${part.dataset.part}"]`)
        : next.querySelectorAll(part.matches(".cameras") ? ".cameras" : "[data-event-page]")[
            part.matches(".cameras") ? [...document.querySelectorAll(".cameras")].indexOf(part) : 0
          ];
      if (twin) part.replaceChildren(...twin.cloneNode(true).childNodes);
    }
    offerPrinting();
  });
}

async function wholePage() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) location.reload();
  if (!answer.ok) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// --- Pictures change without a flicker --------------------------------------------------------------------------

function replaceKeepingPicture(old, card) {
  const shown = old.querySelector("img");
  const wanted = card.querySelector("img");
  if (shown && wanted && shown.getAttribute("src") === wanted.getAttribute("src")) {
    shown.className = wanted.className;
    wanted.replaceWith(shown);
  }
  const focused = old.contains(document.activeElement);
  old.replaceWith(card);
  if (focused) card.querySelector("a")?.focus();
}

async function replaceWhenPictureIsReady(old, card) {
  const wanted = card.querySelector("img");
  if (wanted && wanted.getAttribute("src") !== old.querySelector("img")?.getAttribute("src")) await pictureReady(wanted);
  replaceKeepingPicture(old, card);
}

async function pictureReady(image) {
  if (!image) return;
  const ahead = new Image();
  ahead.src = image.getAttribute("src");
  await ahead.decode().catch(() => {});
}

// --- Small things -------------------------------------------------------------------------------------------------

// The same words as When::ago; from an hour on the server's words stay.
function keepAgesTicking() {
  const say = (seconds) => {
    if (language === "ja") return seconds < 1 ? "たった今" : seconds < 60 ? `${seconds}秒前` : `${Math.floor(seconds / 60)}分前`;
    return seconds < 1 ? "just now" : seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ago`;
  };
  setInterval(() => {
    for (const element of document.querySelectorAll("time[data-age]")) {
      const seconds = Math.floor((Date.now() - Number(element.dataset.age)) / 1000);
      if (seconds >= 3600) continue;
      const text = say(seconds);
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1000);
}

function offerPrinting() {
  for (const button of document.querySelectorAll("button.print")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }
}

// --- Keys and fingers ---------------------------------------------------------------------------------------------

function listenToKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, select, textarea, dialog, [contenteditable]")) return;
    if (event.key === "?") {
      document.querySelector("dialog.keys")?.showModal();
      event.preventDefault();
      return;
    }
    if (document.querySelector("[data-event-page]")) {
      const back = ["ArrowLeft", "k"].includes(event.key);
      if (back || ["ArrowRight", "j"].includes(event.key)) goTo(back ? "prev" : "next");
      return;
    }
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    const cards = [...document.querySelectorAll("[data-event] > a")];
    const at = cards.indexOf(document.activeElement);
    // Arrows scroll the page until somebody has gone into the list.
    if (!step || !cards.length || (at < 0 && event.key.startsWith("Arrow"))) return;
    const next = cards[at < 0 ? 0 : at + step];
    if (!next) return;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    event.preventDefault();
  });
}

function goTo(rel) {
  const link = document.querySelector(`.neighbours a[rel="${rel}"]`);
  if (link) location.assign(link.href);
}

// A swipe over the picture of an event leads to its neighbours.
function listenToFingers() {
  let from = null;
  document.addEventListener("touchstart", (event) => {
    const over = event.touches.length === 1 && event.target.closest(".event-picture") && !event.target.closest(".near");
    from = over ? event.touches[0] : null;
  }, { passive: true });
  document.addEventListener("touchend", (event) => {
    const to = event.changedTouches[0];
    if (!from || !to) return;
    const [x, y] = [to.clientX - from.clientX, to.clientY - from.clientY];
    if (Math.abs(x) > 60 && Math.abs(x) > 2 * Math.abs(y)) goTo(x > 0 ? "prev" : "next");
    from = null;
  }, { passive: true });
}

function lookCloser() {
  document.addEventListener("click", (event) => {
    const layers = event.target.closest(".layers");
    if (!layers) return;
    const box = layers.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (!layers.classList.toggle("near")) return;
    layers.scrollTo((layers.scrollWidth - layers.clientWidth) * x, (layers.scrollHeight - layers.clientHeight) * y);
  });
}

// A part of the strip that is drawn over with a mouse or a finger opens larger, to five minutes; its links do the same in
// steps, and need no pointer.
function zoomByDrawing() {
  let drawn = null;
  const share = (event, zoom) => {
    const box = zoom.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const end = () => {
    drawn?.choice?.remove();
    drawn = null;
  };
  document.addEventListener("dragstart", (event) => {
    if (event.target.closest?.(".strip-zoom")) event.preventDefault();
  });
  document.addEventListener("pointerdown", (event) => {
    end();
    const zoom = event.target.closest?.(".strip-zoom");
    if (zoom && event.isPrimary && event.button === 0) drawn = { zoom, from: share(event, zoom), to: null, choice: null };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    if (!drawn.zoom.isConnected) return end();
    const to = share(event, drawn.zoom);
    // Less is a finger that trembles on a link.
    if (!drawn.choice && Math.abs(to - drawn.from) * drawn.zoom.clientWidth < 12) return;
    drawn.to = to;
    if (!drawn.choice) {
      drawn.choice = document.createElement("div");
      drawn.choice.className = "strip-choice";
      drawn.zoom.append(drawn.choice);
    }
    drawn.choice.style.left = `${100 * Math.min(drawn.from, to)}%`;
    drawn.choice.style.width = `${100 * Math.abs(to - drawn.from)}%`;
  });
  document.addEventListener("pointerup", () => {
    const address = drawn?.choice && addressOf(drawn);
    end();
    if (!address) return;
    // The click that follows is not meant for the link below.
    const still = (event) => event.preventDefault();
    document.addEventListener("click", still, { capture: true, once: true });
    location.assign(address);
  });
  document.addEventListener("pointercancel", end);
}

function addressOf({ zoom, from, to }) {
  const minute = (share) => Number(zoom.dataset.from) + share * Number(zoom.dataset.minutes);
  const first = Math.floor(minute(Math.min(from, to)) / 5) * 5;
  const last = Math.max(first + 5, Math.ceil(minute(Math.max(from, to)) / 5) * 5);
  const clock = (minutes) => [minutes / 60, minutes % 60].map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
  const address = new URL(zoom.querySelector("a").href);
  address.searchParams.set("from", clock(first));
  // Midnight at the end is the end of the day, which needs no word.
  if (last < 24 * 60) address.searchParams.set("to", clock(last));
  else address.searchParams.delete("to");
  return address;
}

function reopenWhenOnline() {
  if (document.querySelector("[data-offline]")) addEventListener("online", () => location.reload());
}
