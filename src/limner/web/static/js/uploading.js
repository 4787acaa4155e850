// Sends files to /api/v1/uploads as one batch: four at a time, by tus, so that each goes on where it stopped.
// The server is what knows how far a file is; nothing is kept in the browser.

const API = "/api/v1/uploads";
const CHUNK = 8 * 2 ** 20;
const AT_ONCE = 4;
const HASHED_TOGETHER = 24;
const LARGEST_HASHED = 100 * 2 ** 20;
// What lies beside photos and is none; captions are .txt, .caption, .csv, .tsv, .jsonl and .json, and are sent.
const NOTES = /\.(md|toml|ya?ml|xml|xmp|aae|html?|log)$/i;
const RETRIES = [0, 1000, 3000, 5000, 10000, 20000];
// How long a browser that says it is offline waits before it looks again by itself: a server next door may answer all the same.
const OFFLINE = 5000;

const headers = () => ({ "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]')?.content ?? "" });

export class Refused extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

// What is asked here may be asked twice, so a lost connection or a server that starts anew is waited for.
async function insist(url, options) {
  let lost = null;
  for (const wait of RETRIES) {
    await new Promise((done) => setTimeout(done, wait));
    try {
      return await fetch(url, options);
    } catch (failure) {
      lost = failure;
    }
  }
  throw lost;
}

export async function ask(method, path, body) {
  const answer = await insist(`${API}${path}`, {
    method,
    headers: { ...headers(), "Tus-Resumable": "1.0.0", ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body && JSON.stringify(body),
  });
  if (answer.status === 204 || (method === "DELETE" && answer.status === 404)) return null;
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(`${said.detail ?? "Limner refused."} ${said.remedy ?? ""}`.trim(), answer.status);
  return said;
}

async function digestOf(file) {
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const canHash = (file) => Boolean(globalThis.crypto?.subtle) && file.size <= LARGEST_HASHED;

export class Batch {
  // changed(item) is called whenever an item has; ended() when nothing is left to send.
  // choices() is asked at the end: fields of the commit, such as replace_captions.
  constructor({ subject, known, changed, ended, choices = () => ({}) }) {
    Object.assign(this, { subject, known, changed, ended, choices });
    this.id = null;
    this.items = [];
    this.earlier = [];
    this.queue = [];
    this.sending = 0;
    this.next = 0;
    this.taken = false;
    this.committing = false;
    this.paused = 0;
  }

  async open(pending) {
    if (this.id) return;
    const batch = pending ? await ask("GET", `/batches/${pending}`) : await ask("POST", "/batches", { subject: this.subject });
    this.id = batch.id;
    this.earlier = [...batch.uploads];
    this.next = Math.max(0, ...batch.uploads.map((upload) => upload.position + 1));
  }

  async add(files) {
    const items = files.map(({ file, name }) => ({ file, name, sent: 0, state: "waiting", words: "" }));
    this.items.push(...items);
    for (const item of items) {
      if (NOTES.test(item.name)) this.set(item, "known", "No photo, left out");
      else this.changed(item);
    }
    for (let at = 0; at < items.length; at += HASHED_TOGETHER) {
      const group = items.slice(at, at + HASHED_TOGETHER);
      try {
        await this.recognise(group.filter((item) => item.state === "waiting"));
      } catch (failure) {
        const answered = failure instanceof Refused;
        const words = answered ? failure.message : this.lost();
        for (const item of group) if (item.state === "waiting") this.fail(item, words, answered);
      }
      this.queue.push(...group.filter((item) => item.state === "waiting"));
      this.pump();
    }
    this.pump();
  }

  // Marks what need not be sent: photos that the subject has, and files that an earlier drop brought whole.
  async recognise(group) {
    const resumed = new Map();
    for (const item of group) {
      const at = this.earlier.findIndex((one) => one.name === item.name.normalize("NFC") && one.byte_size === item.file.size);
      if (at >= 0) resumed.set(item, this.earlier.splice(at, 1)[0]);
    }
    const hashed = group.filter((item) => canHash(item.file) && (this.known || resumed.get(item)?.digest));
    await Promise.all(
      hashed.map(async (item) => {
        try {
          item.digest = await digestOf(item.file);
        } catch {
          this.fail(item, "It cannot be read. Was it moved or changed?");
        }
      }),
    );
    for (const [item, upload] of resumed) {
      if (upload.received === upload.byte_size && item.digest && upload.digest !== item.digest) {
        await ask("DELETE", `/${upload.id}`);
        continue;
      }
      Object.assign(item, { url: `${API}/${upload.id}`, id: upload.id, sent: upload.received });
      if (upload.received === upload.byte_size) this.set(item, "sent", "Arrived before");
    }
    const digests = this.known ? hashed.filter((item) => item.digest && !item.id).map((item) => item.digest) : [];
    if (!digests.length) return;
    const there = await ask("POST", "/known", { subject: this.subject, digests });
    for (const item of hashed) {
      if (!item.id && there[item.digest]) this.set(item, "known", "Here already");
    }
  }

  set(item, state, words = "") {
    Object.assign(item, { state, words });
    this.changed(item);
  }

  // answered: the server, or the file itself, said no; trying the same again changes nothing by itself.
  fail(item, words, answered = true) {
    item.answered = answered;
    this.set(item, "failed", words);
  }

  retry(...items) {
    // What is being taken in leaves out what failed.
    if (this.taken || this.committing) return;
    for (const item of items) {
      if (item.state !== "failed") continue;
      this.set(item, "waiting");
      this.queue.push(item);
    }
    this.pump();
  }

  // There is a connection again: goes on at once, also with what had failed for want of one. Whether there was any such.
  goOn() {
    clearTimeout(this.paused);
    this.paused = 0;
    const unanswered = this.items.filter((item) => item.state === "failed" && !item.answered);
    this.retry(...unanswered);
    return unanswered.length > 0;
  }

  // Without a connection nothing is tried, so nothing fails: it waits at the head of the queue.
  wait(item) {
    this.set(item, "waiting", "Waiting for the connection");
    this.queue.unshift(item);
    this.paused ||= setTimeout(() => this.goOn(), OFFLINE);
  }

  pump() {
    if (this.paused) return;
    while (this.sending < AT_ONCE && this.queue.length) this.send(this.queue.shift());
    const waits = this.items.some((item) => item.state === "waiting" || item.state === "sending");
    if (!this.sending && !this.queue.length && !waits) this.ended();
  }

  send(item) {
    this.sending += 1;
    item.position ??= this.next++;
    this.set(item, "sending");
    const done = () => {
      this.sending -= 1;
      this.pump();
    };
    const upload = new globalThis.tus.Upload(item.file, {
      endpoint: API,
      uploadUrl: item.url ?? null,
      chunkSize: CHUNK,
      retryDelays: RETRIES,
      uploadDataDuringCreation: true,
      storeFingerprintForResuming: false,
      headers: headers(),
      // As tus has it, but for what the browser says of being online: Limner may run on this very machine.
      onShouldRetry: (failure) => {
        const status = failure.originalResponse?.getStatus() ?? 0;
        if (!status && !navigator.onLine) return false;
        const again = status < 400 || status >= 500 || status === 409 || status === 423;
        if (again) this.set(item, "sending", "Trying again");
        return again;
      },
      metadata: {
        subject: this.subject,
        batch: this.id,
        name: item.name,
        position: String(item.position),
        ...(item.digest ? { sha256: item.digest } : {}),
      },
      onUploadUrlAvailable: () => {
        item.url = upload.url;
        item.id = upload.url.split("/").pop();
      },
      onProgress: (sent) => {
        item.sent = sent;
        this.set(item, "sending");
      },
      onSuccess: () => {
        item.sent = item.file.size;
        this.set(item, "sent");
        done();
      },
      onError: (failure) => {
        const answered = Boolean(failure.originalResponse);
        if (!answered && failure.originalRequest && !navigator.onLine) this.wait(item);
        else this.fail(item, this.reason(failure), answered || !failure.originalRequest);
        done();
      },
    });
    item.upload = upload;
    upload.start();
  }

  reason(failure) {
    const body = failure.originalResponse?.getBody();
    try {
      const said = JSON.parse(body);
      return `${said.detail} ${said.remedy ?? ""}`.trim();
    } catch {
      return this.lost();
    }
  }

  lost() {
    return navigator.onLine ? "It did not get through. Retry when Limner answers again." : "There is no connection.";
  }

  // Takes the batch in; what failed is left out. Null: there was nothing new to take.
  async commit() {
    this.committing = true;
    try {
      return await this.takeIn();
    } finally {
      this.committing = false;
    }
  }

  async takeIn() {
    const sent = this.items.filter((item) => item.state === "sent");
    // The server may have more: files that failed half-way, or that an earlier drop brought and this one did not.
    const here = await ask("GET", `/batches/${this.id}`).catch((failure) => {
      // A batch without files is unknown to the server; no answer at all says nothing about them.
      if (failure.status === 404) return null;
      throw failure;
    });
    if (!here) return null;
    const mine = new Set(sent.map((item) => item.id));
    const failed = new Set(this.items.filter((item) => item.state === "failed").map((item) => item.id));
    const earlier = new Set(this.earlier.map((upload) => upload.id));
    let count = 0;
    for (const upload of here.uploads) {
      const whole = upload.received === upload.byte_size;
      if (mine.has(upload.id) || (earlier.has(upload.id) && whole)) count += 1;
      else if (failed.has(upload.id) || !whole || !mine.size) await ask("DELETE", `/${upload.id}`);
    }
    if (!count) return null;
    const job = await ask("POST", `/batches/${this.id}/commit`, { count, ...this.choices() });
    this.taken = true;
    return job;
  }
}
