// Keeps one page for when the receiver cannot be reached. It stores nothing of the customer's data, and
// touches nothing but opening a page.
const kept = "offline-{version}";
const page = "/offline";
const parts = ["/assets/portal.css?v={version}", "/assets/portal.js?v={version}", "/assets/icon.svg?v={version}"];

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(kept).then((cache) => cache.addAll([page, ...parts])));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys().then((names) => Promise.all(names.filter((name) => name !== kept).map((name) => caches.delete(name)))),
  );
});

self.addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate" && event.request.method === "GET") {
    event.respondWith(fetch(event.request).catch(() => caches.match(page)));
  }
});
