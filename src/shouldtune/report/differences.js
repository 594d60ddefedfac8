"use strict";
/* Target against answer, word by word. */
const LONGEST_DIFF = 1_000_000; // pairs of words: more would take too long to compare

function differences(target, answer) {
  const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  const [a, b] = [words(target), words(answer)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (x.length * y.length > LONGEST_DIFF) return null;
  const parts = [];
  const add = (kind, text) => {
    if (parts.length && parts.at(-1)[0] === kind) parts.at(-1)[1] += text;
    else if (text) parts.push([kind, text]);
  };
  add("same", a.slice(0, start).join(""));
  align(x, y, add);
  add("same", a.slice(a.length - end).join(""));
  const shared = parts.filter((part) => part[0] === "same").reduce((sum, part) => sum + part[1].trim().length, 0);
  return 2 * shared < 0.3 * (target.length + answer.length) ? null : parts;
}

function align(x, y, add) {
  const width = y.length + 1;
  const common = new Uint32Array((x.length + 1) * width); // the longest common run of words from (i, j) to the end
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      common[i * width + j] = x[i] === y[j]
        ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) [i, j] = (add("same", x[i]), [i + 1, j + 1]);
    else if (j === y.length || (i < x.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) add("missing", x[i++]);
    else add("extra", y[j++]);
  }
}
