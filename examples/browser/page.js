// The page: a folder comes in by the picker or by ?model=URL, a text by the keyboard, a class goes out.

import { folderAt, folderOf, openFolder, openModel } from "./classifier.js";

const element = (id) => document.getElementById(id);
let folder = null;
let classify = null;

/** Run a step, with its failure told on the page; what is left over from before is taken away first. */
async function told(doing, step) {
  element("answer").hidden = true;
  say(doing);
  try {
    say(await step());
  } catch (error) {
    say(error.message, true);
  }
}

function say(message, failed = false) {
  element("status").textContent = message;
  element("status").className = failed ? "failed" : "";
}

function enable(enabled) {
  for (const id of ["precision", "text", "pair", "classify"]) {
    element(id).disabled = !enabled;
  }
}

function open(read) {
  return told("Opening the folder", async () => {
    enable(false);
    folder = await openFolder(read);
    const options = Object.entries(folder.record.precisions).map(([name, entry]) => {
      return new Option(entry.recommended ? name : `${name} (not recommended: ${entry.reason})`, name);
    });
    element("precision").replaceChildren(...options);
    return load();
  });
}

async function load() {
  enable(false);
  const precision = element("precision").value;
  classify = await openModel(folder, precision);
  enable(true);
  element("text").focus();
  return `Ready: ${folder.record.precisions[precision].file}`;
}

function answer() {
  return told("Classifying", async () => {
    const start = performance.now();
    const shares = await classify(element("text").value, element("pair").value || null);
    const milliseconds = performance.now() - start;
    element("label").textContent = shares[0].label;
    element("score").textContent = shares[0].score.toFixed(4);
    element("shares").replaceChildren(...shares.map(shareRow));
    element("answer").hidden = false;
    return `${milliseconds.toFixed(1)} ms`;
  });
}

function shareRow({ label, score }) {
  const row = document.createElement("tr");
  const meter = document.createElement("meter");
  meter.value = score;
  row.insertCell().textContent = label;
  row.insertCell().textContent = score.toFixed(4);
  row.insertCell().append(meter);
  return row;
}

element("folder").addEventListener("change", (event) => open(folderOf(event.target.files)));
element("precision").addEventListener("change", () => told("Opening the model", load));
element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  answer();
});

const url = new URLSearchParams(location.search).get("model");
if (url) {
  open(folderAt(url));
}
