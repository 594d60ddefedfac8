/* The browsable table of examples. Everything a model or a user wrote is put on the page with textContent. */
(() => {
  const PAGE = 25;
  let data = null;
  let examples = [];
  const narrow = matchMedia("screen and (max-width: 46rem)"); // there the style sheet leaves the targets out of the list
  const at = (id) => document.getElementById(id);
  const state = { filter: "all", query: "", page: 0, open: null, matches: [] };

  /* texts: the target, what else is accepted, then what rungs said; an answer names its text, and why, by number */
  function unpack([id, input, texts, accepted, answers], at) {
    return {
      at, id, input, target: texts[0], accepted: texts.slice(1, 1 + accepted), haystack: null,
      answers: answers.map((a) => a && { text: texts[a[0]], score: a[1], said: data.said[a[2]] }),
    };
  }

  /* ---------------------------------------------------------------- which examples */

  const scores = (example) => example.answers.filter((a) => a && a.score !== null).map((a) => a.score);
  const change = (example) => {
    const [tuned, untuned] = [example.answers[data.tuned], example.answers[data.untuned]];
    return tuned && untuned && tuned.score !== null && untuned.score !== null ? tuned.score - untuned.score : 0;
  };
  const FILTERS = {
    all: () => true,
    fixed: (example) => change(example) > 0,
    broken: (example) => change(example) < 0,
    disagree: (example) => new Set(scores(example)).size > 1,
    failed: (example) => example.answers.some((a) => a && a.score === null),
    wrong: (example) => scores(example).length > 0 && Math.max(...scores(example)) < 0.5,
  };

  function meaning(filter) {
    const pair = data.tuned === null ? null : [data.rungs[data.tuned].name, data.rungs[data.untuned].name];
    return {
      all: "",
      fixed: pair && `${pair[0]} scores higher here than ${pair[1]}.`,
      broken: pair && `${pair[0]} scores lower here than ${pair[1]}.`,
      disagree: "Not every rung has the same score here.",
      failed: "At least one call failed: it has no answer and no score.",
      wrong: "No rung reaches a score of 0.5 here: too hard for all of them, or the target is wrong.",
    }[filter];
  }

  function holds(example, query) {
    example.haystack ??= [example.id, example.input, example.target, ...example.accepted,
      ...example.answers.flatMap((a) => (a ? [a.text, a.said] : []))].join("\n").toLowerCase();
    return example.haystack.includes(query);
  }

  function match() {
    const query = state.query.trim().toLowerCase();
    state.matches = examples.filter((e) => FILTERS[state.filter](e) && (!query || holds(e, query)));
  }

  function choose() {
    match();
    [state.page, state.open] = [0, null];
    show();
  }

  /* ---------------------------------------------------------------- making things */

  function make(tag, className, ...children) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children.filter((child) => child !== null && child !== "")); // strings become text nodes
    return node;
  }

  const fine = (score) => Number(score.toFixed(3)) % 1 === 0 && score % 1 ? String(score) : String(Number(score.toFixed(3)));

  function mark(answer) {
    if (!answer) return ["·", "not asked", "none"];
    if (answer.score === null) return ["×", "failed", "failed"];
    if (answer.score >= 1) return ["●", "right", "right"];
    if (answer.score <= 0) return ["○", "wrong", "wrong"];
    const score = Math.min(0.99, Math.max(0.01, answer.score)); // nearly right is not right
    return [score.toFixed(2).replace(/^0/, ""), `score ${fine(answer.score)}`, "partial"];
  }

  function row(example, place) {
    const button = make("button", "", String(example.at + 1));
    const open = state.open === place;
    button.type = "button";
    button.setAttribute("aria-expanded", String(open));
    button.setAttribute("aria-label", `Example ${example.at + 1}`);
    const clip = (text) => make("div", "clip", text.slice(0, 400));
    const cells = example.answers.map((answer, rung) => {
      const [glyph, word, kind] = mark(answer);
      const seen = make("span", `glyph ${kind}`, glyph);
      seen.setAttribute("aria-hidden", "true");
      const cell = make("td", "mark", seen, make("span", "unseen", word));
      cell.title = `${data.rungs[rung].name}: ${word}`;
      return cell;
    });
    const made = make("tr", open ? "open" : "", make("td", "number", button), make("td", "", clip(example.input)),
      make("td", "target", clip(example.target)), ...cells);
    made.addEventListener("click", (event) => {
      const picked = event.target.closest("button") ? "" : String(getSelection());
      if (!picked) select(open ? null : place);
    });
    return made;
  }

  function heading() {
    const head = (name, className) => {
      const cell = make("th", className, make("span", "", name));
      cell.scope = "col";
      return cell;
    };
    const rungs = data.rungs.map((rung) => head(rung.name, rung.shipped ? "mark shipped" : "mark"));
    return make("tr", "", head("#", "number"), head("Input", ""), head("Target", "target"), ...rungs);
  }

  function detail(example) {
    const list = make("dl", "");
    const add = (term, ...definition) => list.append(make("dt", "", ...term), make("dd", "", ...definition));
    add(["Input"], make("pre", "", example.input));
    add(["Target"], make("pre", "", example.target));
    for (const other of example.accepted) add(["Also right"], make("pre", "", other));
    list.append(make("div", "rule"));
    example.answers.forEach((answer, rung) => {
      add([make("b", "", data.rungs[rung].name), ` ${graded(answer)}`], ...answered(answer, example));
    });
    const legend = list.querySelector("ins, del") && "Underlined: only in the answer. Struck through: only in the target.";
    const cell = make("td", "inside", list, make("p", "note", `Example ${example.id}. `, legend));
    cell.colSpan = (narrow.matches ? 2 : 3) + data.rungs.length;
    return make("tr", "detail", cell);
  }

  function graded(answer) {
    const [glyph, word] = mark(answer);
    if (!answer || answer.score === null) return `${glyph} ${word}`;
    const value = `score ${fine(answer.score)}`;
    return [glyph.startsWith(".") ? value : `${glyph} ${value}`, answer.said].filter(Boolean).join(" · ");
  }

  function answered(answer, example) {
    const note = (text) => make("p", "note", text);
    if (!answer) return [note("This rung was not asked: it had been decided before.")];
    if (answer.score === null) return [note(answer.said), answer.text ? make("pre", "", answer.text) : null];
    if (answer.text === "") return [note("An empty answer.")];
    if (answer.text === example.target) return [make("pre", "", answer.text), note("Same as the target.")];
    if (example.accepted.includes(answer.text)) return [make("pre", "", answer.text), note("An accepted answer.")];
    const parts = differences(example.target, answer.text);
    if (!parts) return [make("pre", "", answer.text), note("Too different from the target to mark word by word.")];
    const tags = { same: null, extra: "ins", missing: "del" };
    const marked = parts.map(([kind, text]) => (tags[kind] ? make(tags[kind], "", text) : text));
    return [make("pre", "", ...marked)];
  }

  /* ---------------------------------------------------------------- showing and moving */

  function show() {
    const first = state.page * PAGE;
    const shown = state.matches.slice(first, first + PAGE);
    const rows = shown.flatMap((example, offset) => {
      const place = first + offset;
      return state.open === place ? [row(example, place), detail(example)] : [row(example, place)];
    });
    at("list").tBodies[0].replaceChildren(...rows);
    const noun = examples.length === 1 ? "example" : "examples";
    const count = `${state.matches.length.toLocaleString("en")} of ${examples.length.toLocaleString("en")} ${noun}`;
    at("status").textContent = shown.length ? `${count}; ${first + 1} to ${first + shown.length} shown.` : `${count}.`;
    at("previous").disabled = state.page === 0;
    at("next").disabled = first + PAGE >= state.matches.length;
  }

  function select(place) {
    const before = state.open;
    state.open = place;
    if (place !== null) state.page = Math.floor(place / PAGE);
    show();
    const focus = place ?? before;
    const line = at("list").querySelectorAll("tbody > tr:not(.detail)")[focus - state.page * PAGE];
    if (!line) return;
    line.querySelector("button").focus({ preventScroll: true });
    const bottom = (line.nextElementSibling ?? line).getBoundingClientRect().bottom;
    if (line.getBoundingClientRect().top < 0 || bottom > innerHeight) line.scrollIntoView({ block: "start" });
  }

  function move(step) {
    if (!state.matches.length) return;
    const from = state.open ?? state.page * PAGE - (step > 0 ? 1 : 0);
    select(Math.min(state.matches.length - 1, Math.max(0, from + step)));
  }

  function turn(step) {
    const last = Math.max(0, Math.ceil(state.matches.length / PAGE) - 1);
    const page = Math.min(last, Math.max(0, state.page + step));
    if (page === state.page) return;
    [state.page, state.open] = [page, null];
    show();
    at("status").scrollIntoView({ block: "start" });
    at("list").querySelector("tbody button").focus({ preventScroll: true });
  }

  const KEYS = {
    j: () => move(1), k: () => move(-1),
    ArrowDown: () => move(1), ArrowUp: () => move(-1), ArrowRight: () => turn(1), ArrowLeft: () => turn(-1),
    Escape: () => (at("keys").open ? help(false) : state.open !== null && select(null)),
    "/": () => at("search").focus(),
    "?": () => help(!at("keys").open),
  };
  document.querySelectorAll("input[name=filter]").forEach((radio, number) => {
    KEYS[number + 1] = () => radio.disabled || radio.click();
  });

  function help(open) {
    at("keys").open = open;
    if (open) at("keys").scrollIntoView({ block: "nearest" });
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return;
    if (event.target.matches("input[type=search]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key.startsWith("Arrow") && !at("list").contains(event.target)) return; // else the page could not be scrolled
    event.preventDefault();
    KEYS[event.key]();
  }

  /* ---------------------------------------------------------------- start, and start again with more */

  function load(text) {
    const [open, page] = [state.matches[state.open]?.at, state.page];
    const held = at("list").contains(document.activeElement) ? document.activeElement.textContent : null;
    data = JSON.parse(text);
    examples = data.examples.map(unpack);
    at("list").replaceChildren(make("thead", "", heading()), make("tbody", ""));
    for (const radio of document.querySelectorAll("input[name=filter]")) {
      const count = examples.filter(FILTERS[radio.value]).length;
      radio.parentElement.querySelector(".count").textContent = count.toLocaleString("en");
      radio.disabled = radio.value !== state.filter && radio.value !== "all" && count === 0;
    }
    match();
    const place = state.matches.findIndex((example) => example.at === open);
    state.open = open === undefined || place < 0 ? null : place;
    state.page = Math.min(page, Math.max(0, Math.ceil(state.matches.length / PAGE) - 1));
    show();
    const again = held === null ? [] : [...at("list").querySelectorAll("tbody button")];
    again.find((button) => button.textContent === held)?.focus({ preventScroll: true });
  }

  load(at("data").textContent);
  for (const radio of document.querySelectorAll("input[name=filter]")) {
    radio.addEventListener("change", () => {
      state.filter = radio.value;
      at("meaning").textContent = meaning(radio.value);
      choose();
    });
  }
  document.querySelector("input[name=filter][value=all]").checked = true;
  let waiting = 0;
  at("search").value = "";
  at("search").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      state.query = event.target.value;
      choose();
    }, 120);
  });
  at("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    at("search").blur(); // so that j and k go through what was found
  });
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", press);
  document.addEventListener("more", (event) => load(event.detail)); // a page that is served while a run goes on
  narrow.addEventListener("change", show);
  at("plain").remove();
  at("browser").hidden = false;
})();
