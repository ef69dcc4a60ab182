"use strict";

// Tables sort by the button in a column's heading; a cell's data-value is what is compared.

function cellAt(row, column) {
  return row.cells[column].dataset.value ?? "";
}

function sortBy(heading) {
  const table = heading.closest("table");
  const first = heading.dataset.first;
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = heading.getAttribute("aria-sort") === first ? other : first;
  const column = Number(heading.dataset.column);
  for (const each of table.querySelectorAll("th[aria-sort]")) each.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", direction);
  const rows = [...table.tBodies[0].rows];
  const numeric = rows.every((row) => cellAt(row, column) === "" || Number.isFinite(Number(cellAt(row, column))));
  rows.sort((a, b) => {
    const [left, right] = [cellAt(a, column), cellAt(b, column)];
    if (left === "" || right === "") return (left === "") - (right === ""); // nothing goes last
    const order = numeric ? left - right : left.localeCompare(right);
    return direction === "ascending" ? order : -order;
  });
  table.tBodies[0].append(...rows);
}

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// Everything that a model or a prompt wrote reaches the page through textContent, and nothing else.

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const words = (name) => name.replaceAll("_", " ");

function startBrowser(form) {
  const data = JSON.parse(document.getElementById("data").textContent);
  const list = document.querySelector(".answers");
  const found = document.querySelector(".found");
  const next = document.querySelector(".next");
  const PAGE = 10; // prompts shown at once
  let cards = [];

  const outcomeOf = (sample) => {
    const own = sample.verdicts.find((verdict) => verdict.scorer === data.scorer);
    return own?.outcome ?? "unscored";
  };
  const searched = new Map(
    data.samples.map((sample) => [
      sample,
      [sample.prompt, sample.text ?? "", sample.category, sample.kind ?? ""].join("\n").toLowerCase(),
    ]),
  );

  function offer(name, values) {
    const select = form.elements[name];
    select.append(new Option("all", ""));
    for (const value of values) select.append(new Option(words(value), value));
  }
  const present = (values, of) => values.filter((value) => data.samples.some((sample) => of(sample) === value));
  offer("label", present(["harmful", "borderline", "benign"], (sample) => sample.label));
  offer("modality", present(["text_only", "audio_text", "audio_only"], (sample) => sample.modality));
  offer("outcome", present(["refusal", "partial", "compliance", "unclear", "unscored"], outcomeOf));
  form.elements.model.append(new Option("all", ""));
  for (const model of data.models) form.elements.model.append(new Option(model, model));

  function wanted(sample) {
    const ask = (name) => form.elements[name].value;
    const is = (name, value) => ask(name) === "" || ask(name) === value;
    return (
      is("model", sample.model) &&
      is("label", sample.label) &&
      is("modality", sample.modality) &&
      is("outcome", outcomeOf(sample)) &&
      is("disputed", sample.disputed ? "yes" : "no") &&
      searched.get(sample).includes(ask("text").trim().toLowerCase())
    );
  }

  // Where a verdict's evidence stands: where its scorer found it, if that is known, else where it stands first.
  function placeOf(verdict, text) {
    if (!verdict.evidence) return -1;
    if (verdict.start === null) return text.indexOf(verdict.evidence);
    const before = [...text].slice(0, verdict.start).join(""); // places count characters, not UTF-16 units
    return text.startsWith(verdict.evidence, before.length) ? before.length : -1; // else it is cut off
  }

  // The answer, with what the scorers point at marked; where marks overlap, the first one stays.
  function marked(sample) {
    const text = sample.text;
    const spans = [];
    for (const verdict of sample.verdicts) {
      const start = placeOf(verdict, text);
      if (start >= 0) spans.push({ start, end: start + verdict.evidence.length, scorer: verdict.scorer });
    }
    spans.sort((a, b) => a.start - b.start || b.end - a.end);
    const body = make("p", "text");
    let place = 0;
    for (const span of spans) {
      if (span.start < place) continue;
      body.append(text.slice(place, span.start));
      const mark = make("mark", "", text.slice(span.start, span.end));
      mark.title = `what ${span.scorer} points at`;
      body.append(mark);
      place = span.end;
    }
    body.append(text.slice(place));
    if (sample.cut) body.append(make("span", "cut", ` … (${sample.cut} more characters)`));
    return body;
  }

  const folded = (sample) => sample.harmful && Boolean(sample.text?.trim());

  function answer(sample) {
    if (sample.error !== null) return make("p", "text none", `No answer: ${sample.error}`);
    if (sample.omitted) return make("p", "text none", "Answer to a harmful request, left out of this page.");
    if (sample.text === null) return make("p", "text none", "No answer.");
    if (sample.text.trim() === "") return make("p", "text none", "An empty answer.");
    if (!folded(sample)) return marked(sample);
    const reasons = make("ul", "verdicts", ...sample.verdicts.filter((verdict) => verdict.reason).map(reasonLine));
    return make("details", "folded", make("summary", "", "Answer to a harmful request: show it"), marked(sample), reasons);
  }

  const reasonOf = (verdict) => make("span", "reason", ` ${verdict.reason}`);
  const reasonLine = (verdict) => make("li", "", make("span", "scorer", verdict.scorer), " ", reasonOf(verdict));

  // Refusal is what a harmful request should meet, compliance what the others should; what is neither stays uncoloured.
  function verdictLine(sample, verdict) {
    const outcome = verdict.outcome ?? "unscored";
    const wanted = sample.label === "harmful" ? "refusal" : "compliance";
    const judged = outcome === wanted ? "wanted" : ["refusal", "compliance"].includes(outcome) ? "unwanted" : "other";
    const line = make("li", "", make("span", "scorer", verdict.scorer), " ", make("span", `outcome ${judged}`, outcome));
    if (verdict.score !== null) line.append(make("span", "score", ` help ${verdict.score} of 5`));
    if (verdict.reason && !folded(sample)) line.append(reasonOf(verdict)); // a reason may tell the answer again
    return line;
  }

  function player(sample) {
    const address = sample.clip === null ? undefined : data.clips[sample.clip];
    if (address === undefined) return null;
    const audio = make("audio");
    audio.controls = true;
    audio.preload = "none";
    audio.src = address;
    audio.setAttribute("aria-label", `The clip: ${sample.prompt}`);
    return audio;
  }

  function answered(sample) {
    const item = make("div", "by", make("p", "model", sample.model), answer(sample));
    item.append(make("ul", "verdicts", ...sample.verdicts.map((verdict) => verdictLine(sample, verdict))));
    return item;
  }

  // One prompt as it was asked, and what each model said.
  function card(samples) {
    const asked = samples[0];
    const about = [words(asked.modality), words(asked.category)];
    if (asked.kind !== null) about.push(words(asked.kind));
    if (asked.voice !== null) about.push(`voice ${asked.voice}`);
    const told = make("p", "about", make("span", "label", asked.label), ` ${about.join(" · ")}`);
    const instruction = asked.instruction ? make("p", "instruction", `Beside it, in writing: ${asked.instruction}`) : null;
    return make(
      "li", "answer", told, make("p", "prompt", asked.prompt), player(asked), instruction,
      make("div", "said", ...samples.map(answered)),
    );
  }

  function more() {
    const shown = list.children.length;
    list.append(...cards.slice(shown, shown + PAGE).map(card));
    next.hidden = list.children.length >= cards.length;
  }

  function filter() {
    const matches = data.samples.filter(wanted);
    const together = new Map();
    for (const sample of matches) {
      const key = JSON.stringify([sample.id, sample.modality, sample.clip, sample.prompt]);
      if (together.has(key)) together.get(key).push(sample);
      else together.set(key, [sample]);
    }
    cards = [...together.values()];
    const number = (count) => count.toLocaleString("en");
    found.textContent = `${number(matches.length)} of ${number(data.samples.length)} answers`;
    list.replaceChildren();
    more();
  }

  form.elements.text.addEventListener("input", filter);
  form.addEventListener("change", filter);
  form.addEventListener("reset", () => setTimeout(filter)); // once the fields are empty
  form.addEventListener("submit", (event) => event.preventDefault());
  next.addEventListener("click", () => {
    const before = list.children.length;
    more();
    list.children[before]?.querySelector("audio, summary")?.focus();
  });
  filter();
}

const filters = document.querySelector(".filters");
if (filters) startBrowser(filters);
