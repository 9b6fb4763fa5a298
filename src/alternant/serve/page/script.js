"use strict";
// The page's state is its address after the #: user=..., or items=... for each picked item; k; item, the one chosen.
// Texts from the server become text nodes, never HTML.

const at = (id) => document.getElementById(id);
const titles = new Map();  // of the picked items, by id
let model = null;
let asked = 0;  // the number of the last rendering: answers to earlier ones are dropped
let shown = "";  // whose lists are shown

async function ask(path, parameters) {
  const query = new URLSearchParams(parameters);
  let answer;
  try {
    answer = await fetch(`api/${path}?${query}`);
  } catch {
    throw new Error("the server does not answer: start it again");
  }
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const nameOf = (one) => one.title ?? one.item;

function short(value) {
  if (value === null) return "not finite";  // JSON has neither infinity nor NaN
  const size = Math.abs(value);
  if (size >= 1e7) return value.toExponential(2);
  return size >= 999.5 ? value.toFixed(0) : value.toPrecision(3);  // of 999.5: 1.00e+3
}

function state() {
  const given = new URLSearchParams(location.hash.slice(1));
  return {user: given.get("user"), items: given.getAll("items"), k: given.get("k") ?? "10", item: given.get("item")};
}

function go(change) {
  const next = {...state(), ...change};
  const given = new URLSearchParams();
  if (next.user !== null) given.set("user", next.user);
  for (const item of next.items) given.append("items", item);
  if (next.k !== "10") given.set("k", next.k);
  if (next.item !== null) given.set("item", next.item);
  if (location.hash.slice(1) === given.toString()) render();
  else location.hash = given.toString();
}

function who({user, items}) {
  return user !== null ? [["user", user]] : items.map((item) => ["items", item]);
}

function fill(list, rows, number, chosen) {
  const most = Math.max(...rows.map((row) => Math.abs(row[number] ?? 0)), Number.MIN_VALUE);
  list.replaceChildren(...rows.map((row) => {
    const button = make("button", {type: "button", "aria-pressed": String(row.item === chosen), "data-item": row.item},
      make("span", {class: "title"}, nameOf(row)));
    if (row.title !== null) button.title = `id ${row.item}`;
    if (number) {
      button.append(make("span", {class: "number"}, short(row[number])));
      const bar = make("span", {class: row[number] < 0 ? "bar negative" : "bar", "aria-hidden": "true"});
      bar.style.width = `${100 * Math.abs(row[number] ?? 0) / most}%`;
      button.append(bar);
    }
    button.addEventListener("click", () => go({item: row.item}));
    return make("li", {}, button);
  }));
}

function fail(error) {
  at("error").textContent = error.message;
  at("error").hidden = false;
}

async function render() {
  const number = ++asked;
  const now = state();
  at("user").value = now.user ?? "";
  at("k").value = now.k;
  at("error").hidden = true;
  chips(now.items);
  const whose = JSON.stringify([now.user, now.items, now.k]);
  if (now.user === null && !now.items.length) {
    at("lists").hidden = true;
    shown = "";
    return;
  }
  try {
    if (whose === shown) return await choose(now, number);
    const lists = await ask("recommend", [...who(now), ["k", now.k]]);
    if (number !== asked) return;
    for (const one of lists.history) titles.set(one.item, nameOf(one));
    chips(now.items);
    at("history-title").textContent = now.user !== null ? `History of ${now.user}` : "Picked items";
    at("history-note").textContent = note(lists, now);
    fill(at("history"), lists.history, null, now.item);
    fill(at("recommended"), lists.items, "score", now.item);
    at("lists").hidden = false;
    at("status").textContent = `${lists.items.length} items recommended`;
    shown = whose;
    await detail(now, number);
  } catch (error) {
    if (number !== asked) return;
    at("lists").hidden = true;
    shown = "";
    fail(error);
  }
}

// The lists stay as they are, and the focus where it is.
async function choose(now, number) {
  for (const list of ["history", "recommended"]) {
    for (const button of at(list).querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.item === now.item));
    }
  }
  await detail(now, number);
  const narrow = matchMedia("(max-width: 60rem)").matches;
  if (number === asked && now.item !== null && narrow) at("detail").scrollIntoView({block: "start"});
}

function note(lists, now) {
  if (now.user !== null && !model.knows_history) {
    return "The model was saved without its interactions: lists may hold items that the user has had.";
  }
  const rest = lists.n_history - lists.history.length;
  const count = lists.n_history === 1 ? "1 item" : `${lists.n_history.toLocaleString("en")} items`;
  return rest ? `${count}, of which ${lists.history.length} are shown` : count;
}

async function detail(now, number) {
  at("why").hidden = at("alike").hidden = true;
  at("detail-title").textContent = "One item";
  at("detail-note").textContent = "None is chosen.";
  if (now.item === null) return;
  const similar = await ask("similar", [["item", now.item], ["k", now.k]]);
  if (number !== asked) return;
  at("detail-title").textContent = nameOf(similar.item);
  at("detail-note").textContent = similar.item.title === null ? "" : `id ${similar.item.item}`;
  fill(at("similar"), similar.items, "similarity", null);
  at("alike").hidden = false;
  at("why").hidden = false;
  try {
    const why = await ask("explain", [...who(now), ["item", now.item], ["k", now.k]]);
    if (number !== asked) return;
    const base = why.base ? `, ${short(why.base)} of it for every user` : "";
    at("why-note").textContent = `Score ${short(why.score)}${base}. What each item of the history adds:`;
    fill(at("parts"), why.because_of, "contribution", null);
  } catch (error) {
    if (number !== asked) return;
    at("why-note").textContent = error.message;
    at("parts").replaceChildren();
  }
}

function chips(items) {
  at("picked").replaceChildren(...items.map((item) => {
    const title = titles.get(item) ?? item;
    const button = make("button", {type: "button", "aria-label": `Remove ${title}`}, `${title} ×`);
    button.addEventListener("click", () => {
      go({items: items.filter((other) => other !== item), item: null});
      at("search").focus();
    });
    return make("li", {}, button);
  }));
}

// The search for items, a combobox: https://www.w3.org/WAI/ARIA/apg/patterns/combobox/

let searched = 0;
let marked = -1;

function close() {
  at("found").hidden = true;
  at("search").setAttribute("aria-expanded", "false");
  at("search").removeAttribute("aria-activedescendant");
  marked = -1;
}

function mark(place) {
  const options = [...at("found").querySelectorAll("[role=option]")];
  if (!options.length) return;
  marked = (place + options.length) % options.length;
  options.forEach((option, number) => option.setAttribute("aria-selected", String(number === marked)));
  at("search").setAttribute("aria-activedescendant", options[marked].id);
  options[marked].scrollIntoView({block: "nearest"});
}

function pick(one) {
  titles.set(one.item, nameOf(one));
  at("search").value = "";
  close();
  const {items} = state();
  go({user: null, item: null, items: items.includes(one.item) ? items : [...items, one.item]});
}

async function search() {
  const number = ++searched;
  const text = at("search").value.trim();
  if (!text) return close();
  let found;
  try {
    found = (await ask("search", {q: text})).items;
  } catch (error) {
    return fail(error);
  }
  if (number !== searched) return;
  const options = found.map((one, place) => {
    const option = make("li", {role: "option", id: `option-${place}`, "aria-selected": "false"}, nameOf(one));
    option.addEventListener("mousedown", (event) => event.preventDefault());  // keeps the focus in the field
    option.addEventListener("click", () => pick(one));
    option.pick = () => pick(one);
    return option;
  });
  const before = at("found").querySelector("[aria-selected=true]")?.textContent;
  const none = make("li", {}, `No item has “${text}” in its title or id.`);
  at("found").replaceChildren(...(options.length ? options : [none]));
  at("found").hidden = false;
  at("search").setAttribute("aria-expanded", "true");
  at("status").textContent = `${options.length} items found`;
  marked = -1;
  at("search").removeAttribute("aria-activedescendant");
  const again = options.findIndex((option) => option.textContent === before);  // a slow answer keeps what is marked
  if (again >= 0) mark(again);
}

at("search").addEventListener("input", search);
at("search").addEventListener("blur", close);
at("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (at("found").hidden) search();
    else mark(event.key === "ArrowDown" ? marked + 1 : marked - (marked < 0 ? 0 : 1));
  } else if (event.key === "Enter") {
    event.preventDefault();
    const options = at("found").querySelectorAll("[role=option]");
    if (!at("found").hidden && options.length) options[Math.max(marked, 0)].pick();
  }
});

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = at("user").value.trim();
  if (user) go({user, items: [], item: null, k: at("k").value});
  else at("user").focus();
});
at("k").addEventListener("change", () => go({k: at("k").value || "10"}));
addEventListener("hashchange", render);

ask("model", {}).then((answer) => {
  model = answer;
  document.title = `${model.model} – alternant`;
  const size = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
  at("model").textContent = `${model.parameters}: ${size(model.n_users, "user")}, ${size(model.n_items, "item")}`;
  at("k").max = String(model.most);
  at("examples").replaceChildren("Such as ", ...model.users.map((user) => {
    const button = make("button", {type: "button"}, user);
    button.addEventListener("click", () => go({user, items: [], item: null}));
    return button;
  }));
  return render();
}).catch(fail);
