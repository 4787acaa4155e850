// What was dropped or chosen, as a flat list of { file, name }: folders are walked, and names keep their folders.

// The names come with the page; the server passes the same over, so this only saves sending them.
const DEVICES = new Set(document.querySelector("[data-passed-over]").dataset.passedOver.split("/"));
// "." and ".." are no names: what they would lead to is the server's to refuse.
const hidden = (part) => /^\.+[^.]/.test(part) || DEVICES.has(part.toLowerCase());
const placeholder = (part) => part.startsWith(".") && part.toLowerCase().endsWith(".icloud");

// What is chosen by itself is meant; in a folder, what is hidden and what devices write is not.
function passedOver(path) {
  const parts = path.split("/");
  if (placeholder(parts[parts.length - 1])) parts.pop();
  return path.includes("/") ? parts.some(hidden) : DEVICES.has(path.toLowerCase());
}

const entriesOf = (reader) => new Promise((done, failed) => reader.readEntries(done, failed));
const fileOf = (entry) => new Promise((done, failed) => entry.file(done, failed));

async function walk(entry, above, found) {
  const name = above ? `${above}/${entry.name}` : entry.name;
  if (entry.isFile) {
    if (!passedOver(name)) found.push({ file: await fileOf(entry), name });
    return;
  }
  if (passedOver(name)) return;
  const reader = entry.createReader();
  // A folder is given in parts of about a hundred entries, until a part is empty.
  for (let part = await entriesOf(reader); part.length; part = await entriesOf(reader)) {
    for (const inside of part) await walk(inside, name, found);
  }
}

export async function fromTransfer(transfer) {
  // The entries are to be had only while the event lasts, so they are taken before anything is waited for.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return fromInput(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

export function fromInput(files) {
  return [...files]
    .map((file) => ({ file, name: file.webkitRelativePath || file.name }))
    .filter(({ name }) => !passedOver(name));
}
