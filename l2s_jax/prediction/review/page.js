// The gallery of `l2s review`. A row of data.rows is, in this order: the strip's address; the picture's name; the
// fields that begin its line in the file of marks, as CSV (null: it takes no mark); and numbers: kind, group,
// slide (-1: none), split (-1: none), suspicion, networks asked, likeliest class (-1: none) and its probability;
// last, pairs of a class and a number: the label and its probability, or the classes of the mask and the share of
// each that is contradicted. Of a window of a slide the suspicion is the disagreement in nats, and there are no pairs.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const VERDICTS = ["right", "wrong", "unsure"];
  const KEYS = { r: "right", w: "wrong", u: "unsure" };
  const BATCH = 24;
  const list = document.getElementById("list");
  const end = document.getElementById("end");
  const count = document.getElementById("count");

  const rows = data.rows.map(
    ([picture, name, item, kind, group, slide, split, suspicion, members, likeliest, chance, given]) => ({
      picture, name, item, kind, group, slide, split, suspicion, members, likeliest, chance, given,
    }));

  // What people have said, by the fields that name a label or a mask.
  let marks = new Map();
  let kept = true;

  function readMarks() {
    marks = new Map();
    try {
      const found = JSON.parse(localStorage.getItem(data.key) ?? "[]");
      for (const [item, verdict] of found) if (VERDICTS.includes(verdict)) marks.set(item, verdict);
    } catch {
      kept = false;
    }
  }

  function keepMarks() {
    try {
      localStorage.setItem(data.key, JSON.stringify([...marks]));
      kept = true;
    } catch {
      kept = false;
    }
  }

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function aria(made, names) {
    for (const [name, value] of Object.entries(names)) made.setAttribute(`aria-${name}`, value);
    return made;
  }

  function named(code, text) {
    const [name, colour] = data.classes[code];
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = colour;
    return element("span", {}, swatch, text === undefined ? name : `${name} ${text}`);
  }

  const percent = share => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;

  // Filters: what each asks of a row, and its choices. One without a choice to make is left out.
  const indices = names => names.map((name, k) => [String(k), name]);
  const classes = indices(data.classes.map(([name]) => name));
  const FILTERS = [
    ["kind", "what", indices(data.kinds), (row, k) => row.kind === k],
    ["class", "given class", classes, (row, k) => row.given.some(([code]) => code === k)],
    ["likeliest", "likeliest class", classes, (row, k) => row.likeliest === k],
    ["slide", "slide", indices(data.slides), (row, k) => row.slide === k],
    ["group", "group", indices(data.groups), (row, k) => row.group === k],
    ["split", "split", indices(data.splits), (row, k) => row.split === k],
    ["marked", "marked", [["-1", "not yet"], ...indices(VERDICTS)],
      (row, k) => row.item !== null && (marks.get(row.item) ?? null) === (VERDICTS[k] ?? null)],
  ];
  const selects = [];
  for (const [id, title, choices, keep] of FILTERS) {
    if (choices.length < 2) continue;
    const select = element("select", { id }, element("option", { value: "", textContent: "all" }));
    for (const [value, name] of choices) select.append(element("option", { value, textContent: name }));
    select.addEventListener("change", show);
    selects.push([select, keep]);
    document.getElementById("filters").append(element("label", {}, `${title} `, select));
  }

  // It tells of changes only: where the end is still near after more cards (a high screen, a list that was
  // short until now), it has to be looked at anew.
  const near = new IntersectionObserver(entries => {
    if (entries.at(-1).isIntersecting && drawn < shown.length) more();
  }, { rootMargin: "1500px" });

  let shown = rows;
  let drawn = 0;

  function show() {
    const active = selects.filter(([select]) => select.value !== "");
    shown = rows.filter(row => active.every(([select, keep]) => keep(row, Number(select.value))));
    drawn = 0;
    list.replaceChildren();
    more();
    tell();
  }

  function more() {
    const next = shown.slice(drawn, drawn + BATCH);
    list.append(...next.map(card));
    if (drawn === 0 && next.length) list.firstElementChild.tabIndex = 0;
    drawn += next.length;
    end.textContent = shown.length ? "" : "Nothing is like this.";
    near.unobserve(end);
    near.observe(end);
  }

  function tell() {
    const said = rows.map(row => marks.get(row.item)).filter(Boolean);
    const parts = VERDICTS.map(verdict => `${said.filter(one => one === verdict).length} ${verdict}`);
    const lost = kept ? "" : ". This browser keeps no marks: save them before you close the page";
    count.value = `${shown.length} of ${rows.length} shown; marked ${parts.join(", ")}${lost}`;
  }

  function card(row) {
    const masked = data.kinds[row.kind] === "mask";
    const window = data.kinds[row.kind] === "window";
    const made = element("li", { className: "card", tabIndex: -1 });
    made.row = row;
    const titles = window ? ["picture", "prediction", "disagreement"] : ["picture", "mask", "prediction"];
    const seen = window ? "prediction and disagreement" : `${masked ? "mask" : "mask if there is one"} and prediction`;
    const alt = `Picture, ${seen} of ${row.name}`;
    const image = element("img", { loading: "lazy", decoding: "async", alt, width: 584, height: 192 });
    image.src = row.picture;
    image.addEventListener("load", () => { image.height = image.naturalHeight * 584 / image.naturalWidth; });
    const panels = aria(element("div", { className: "panels" }), { hidden: true });
    panels.append(...titles.map(text => element("span", { textContent: text })));
    const what = element("p");
    if (window) {
      what.append(element("b", { textContent: "Window" }), " likeliest ", named(row.likeliest, percent(row.chance)));
    } else if (masked) {
      what.append(element("b", { textContent: "Mask" }), " contradicted: ");
      row.given.forEach(([code, share], k) => what.append(k ? ", " : "", named(code, percent(share))));
      if (row.likeliest >= 0) what.append("; there likeliest ", named(row.likeliest, percent(row.chance)));
    } else {
      const [[code, chance]] = row.given;
      what.append(element("b", { textContent: "Label" }), " ", named(code, percent(chance)));
      what.append(row.likeliest === code ? ", the likeliest" : "; likeliest ");
      if (row.likeliest !== code) what.append(named(row.likeliest, percent(row.chance)));
    }
    const asked = `${row.members} network${row.members > 1 ? "s" : ""}`;
    const where = [row.name, data.groups[row.group], data.slides[row.slide], data.splits[row.split], asked];
    const verdicts = aria(element("div", { className: "verdicts" }), { label: "mark" });
    verdicts.setAttribute("role", "group");
    for (const [key, verdict] of Object.entries(KEYS)) {
      const button = element("button", { type: "button", value: verdict }, `${verdict} `);
      button.append(aria(element("kbd", { textContent: key.toUpperCase() }), { hidden: true }));
      verdicts.append(button);
    }
    const much = window ? `disagreement ${row.suspicion.toFixed(3)} nats` : `suspicion ${row.suspicion.toFixed(2)}`;
    made.append(
      image, panels, what,
      element("p", { textContent: much }),
      element("p", { className: "where", textContent: where.filter(Boolean).join(" · ") }));
    if (row.item !== null) made.append(verdicts);
    dress(made);
    return made;
  }

  function dress(made) {
    const verdict = marks.get(made.row.item);
    made.className = `card ${verdict ?? ""}`;
    for (const button of made.querySelectorAll("button")) aria(button, { pressed: button.value === verdict });
  }

  function mark(made, verdict) {
    if (made.row.item === null) return;
    if (verdict) marks.set(made.row.item, verdict);
    else marks.delete(made.row.item);
    keepMarks();
    for (const other of list.children) if (other.row.item === made.row.item) dress(other);
    tell();
  }

  function go(made) {
    if (!made) return;
    for (const other of list.querySelectorAll('.card[tabindex="0"]')) other.tabIndex = -1;
    made.tabIndex = 0;
    made.focus();
    made.scrollIntoView({ block: "nearest" });
  }

  function after(made) {
    if (!made.nextElementSibling) more();
    return made.nextElementSibling ?? made;
  }

  list.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    const made = button.closest(".card");
    mark(made, marks.get(made.row.item) === button.value ? null : button.value);
  });

  list.addEventListener("focusin", event => {
    const made = event.target.closest(".card");
    for (const other of list.querySelectorAll('.card[tabindex="0"]')) other.tabIndex = -1;
    made.tabIndex = 0;
  });

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const made = document.activeElement.closest?.(".card");
    if (!made) {
      if (key === "j" && document.activeElement === document.body) go(list.firstElementChild);
      return;
    }
    if (Object.hasOwn(KEYS, key)) {
      if (made.row.item === null) return;
      mark(made, KEYS[key]);
      go(after(made));
    } else if (key === "j" || key === "ArrowDown" || key === "ArrowRight") go(after(made));
    else if (key === "k" || key === "ArrowUp" || key === "ArrowLeft") go(made.previousElementSibling);
    else if (key === "Backspace" || key === "Delete") mark(made, null);
    else return;
    event.preventDefault();
  });

  document.getElementById("bar").addEventListener("submit", event => event.preventDefault());

  document.getElementById("save").addEventListener("click", () => {
    const lines = rows.filter(row => marks.has(row.item)).map(row => `${row.item},${marks.get(row.item)}`);
    const text = [data.header, ...lines, ""].join("\n");
    const link = element("a", { download: "review_marks.csv" });
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  // The same page in another window.
  window.addEventListener("storage", event => {
    if (event.key !== data.key) return;
    readMarks();
    for (const made of list.children) dress(made);
    tell();
  });

  document.getElementById("key").append(...classes.map(([code]) => element("li", {}, named(Number(code)))));
  readMarks();
  show();
})();
