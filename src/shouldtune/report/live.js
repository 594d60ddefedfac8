/* A page that is served while a run goes on: what is new takes its place, what one looks at stays. */
(() => {
  const at = (id) => document.getElementById(id);
  let [shown, wanted, asking] = [Number(at("now").dataset.version), 0, false];

  const stream = new EventSource("events");
  stream.addEventListener("message", (event) => {
    const { state, said, version } = JSON.parse(event.data);
    tell(state, said);
    wanted = version;
    if (wanted !== shown) refresh();
  });
  stream.addEventListener("error", () => tell("lost", "Nothing is heard of `shouldtune view`: what stands here is what was last seen."));

  function tell(state, said) {
    at("now").dataset.state = state;
    at("doing").textContent = said;
  }

  function refresh() {
    if (asking) return;
    asking = true;
    const request = new XMLHttpRequest();
    request.open("GET", "./");
    request.responseType = "document"; // parsed, and nothing in it is run
    request.addEventListener("loadend", () => {
      asking = false;
      const fresh = request.status === 200 && request.response;
      if (!fresh || !fresh.getElementById("now")) return;
      shown = Number(fresh.getElementById("now").dataset.version);
      take(fresh);
      if (shown < wanted) refresh();
    });
    request.send();
  }

  function take(fresh) {
    document.title = fresh.title;
    let [last, kept] = [null, false];
    for (const part of [...fresh.querySelectorAll("main > [id]")]) {
      const old = at(part.id);
      if (!old) last ? last.after(document.adoptNode(part)) : document.querySelector("main").prepend(document.adoptNode(part));
      else if (part.id !== "examples" && old.outerHTML !== part.outerHTML) isInUse(old) ? (kept = true) : replace(old, part);
      last = at(part.id);
    }
    document.dispatchEvent(new CustomEvent("more", { detail: fresh.getElementById("data").textContent }));
    if (kept) setTimeout(refresh, 3000); // someone is in it: later
  }

  function replace(old, part) {
    const folded = (node) => [...node.querySelectorAll("details")];
    const open = folded(old).filter((each) => each.open).map((each) => each.querySelector("summary").textContent.split(" (")[0]);
    for (const each of folded(part)) each.open = open.includes(each.querySelector("summary").textContent.split(" (")[0]);
    const scrolled = [...old.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    old.replaceWith(document.adoptNode(part));
    part.querySelectorAll(".scroll").forEach((box, i) => { box.scrollLeft = scrolled[i] ?? 0; });
  }

  function isInUse(node) {
    const picked = getSelection();
    return node.contains(document.activeElement) || (String(picked) !== "" && picked.containsNode(node, true));
  }
})();
