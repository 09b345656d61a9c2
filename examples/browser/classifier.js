// An exported folder in a browser: tokenizer.json and the ONNX file of a precision, run by WebAssembly.
// What OnnxClassifier does in Python (bertcompress/export/runtime), one text or one pair at a time.

import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-web/wasm";

// More threads need a page that is served cross-origin isolated, and gain little on a small model.
ort.env.wasm.numThreads = 1;

/** Reads the files of an exported folder that is served at `url`: a name to a Blob. */
export function folderAt(url) {
  return async (name) => {
    const answer = await fetch(`${url.replace(/\/$/, "")}/${name}`);
    if (!answer.ok) {
      throw new Error(`${answer.url}: ${answer.status} ${answer.statusText}; serve a folder that an export wrote`);
    }
    return answer.blob();
  };
}

/** Reads the files of an exported folder that was picked with <input type="file" webkitdirectory>. */
export function folderOf(files) {
  const found = new Map(
    [...files].filter((file) => file.webkitRelativePath.split("/").length === 2).map((file) => [file.name, file]),
  );
  return async (name) => {
    if (!found.has(name)) {
      throw new Error(`${name}: missing; pick a folder that an export wrote`);
    }
    return found.get(name);
  };
}

/** What an exported folder says of itself, and its tokenizer. Sessions are opened a precision, by `openModel`. */
export async function openFolder(read) {
  const json = async (name) => JSON.parse(await (await read(name)).text());
  const record = await json("export.json");
  const numSegments = record.tokenizer.uses_segments ? ((await json("config.json")).type_vocab_size ?? 2) : 1;
  if (record.tokenizer.splits_special_tokens) {
    throw new Error("this model reads special tokens in a text as words, which the page's tokenizer cannot");
  }
  await checkFile(record, "tokenizer.json", await read("tokenizer.json"));
  const tokenizer = new Tokenizer(await json("tokenizer.json"), await json("tokenizer_config.json"));
  return { read, record, tokenizer, numSegments };
}

/** Refuses a file that the export did not write, or that was changed since: it would answer without a word. */
async function checkFile(record, name, blob) {
  if (!globalThis.crypto?.subtle) {
    return; // Hashes need https or localhost.
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  const hash = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hash !== record.files?.[name]) {
    throw new Error(`${name}: is not the file that the export wrote; export the model again`);
  }
}

/** A function from a text, or a text and its pair, to the shares of the labels, the likeliest first. */
export async function openModel({ read, record, tokenizer, numSegments }, precision) {
  const { file } = record.precisions[precision];
  const blob = await read(file);
  await checkFile(record, file, blob);
  const session = await ort.InferenceSession.create(await blob.arrayBuffer(), {
    executionProviders: ["wasm"],
    // The file holds the fusions that were chosen when it was made; a higher level would add others.
    graphOptimizationLevel: "basic",
  });
  return async (text, pair = null) => {
    const { truncation_side: side } = record.tokenizer;
    const row = encode(tokenizer, text, pair, { maxLength: record.max_length, side, numSegments });
    const feeds = Object.fromEntries(session.inputNames.map((name) => [name, asTensor(row[name])]));
    const logits = (await session.run(feeds))[session.outputNames[0]].data;
    const shares = softmax(logits);
    return record.label_names
      .map((label, index) => ({ label, score: shares[index] }))
      .sort((one, other) => other.score - one.score);
  };
}

/** Token ids with the special tokens, the mask and the segments, at most `maxLength` of each. */
function encode(tokenizer, text, pair, { maxLength, side, numSegments }) {
  if (!text.trim() || (pair !== null && !pair.trim())) {
    throw new Error("empty text; type something to classify");
  }
  const whole = tokenizer.encode(text, { text_pair: pair, return_token_type_ids: true });
  const kept = pair === null ? cut(tokenizer, text, whole.ids, maxLength, side) : whole.ids;
  if (kept.length > maxLength) {
    throw new Error(`${kept.length} tokens in the pair; this model takes ${maxLength}: shorten one of the texts`);
  }
  return {
    input_ids: kept,
    attention_mask: kept.map(() => 1),
    // RoBERTa has one segment for both texts; the tokenizer counts two all the same.
    token_type_ids: whole.token_type_ids.slice(0, kept.length).map((segment) => Math.min(segment, numSegments - 1)),
  };
}

/** The ids of a text cut to `maxLength` as Python's tokenizers cut them: words go on one side, special tokens stay. */
function cut(tokenizer, text, ids, maxLength, side) {
  const excess = ids.length - maxLength;
  if (excess <= 0) {
    return ids;
  }
  const words = tokenizer.encode(text, { add_special_tokens: false }).ids;
  const numSpecial = ids.length - words.length;
  const front = [...Array(numSpecial + 1).keys()].find((start) =>
    words.every((id, index) => ids[start + index] === id),
  );
  const endOfWords = front + words.length;
  return side === "left"
    ? [...ids.slice(0, front), ...ids.slice(front + excess)]
    : [...ids.slice(0, endOfWords - excess), ...ids.slice(endOfWords)];
}

function asTensor(values) {
  return new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
