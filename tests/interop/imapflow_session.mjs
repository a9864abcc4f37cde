// A session of programs built on ImapFlow, on an account with two messages: prints what they saw, as one line of JSON.
// Its argument is JSON: library (a folder with node_modules/imapflow), host, port, secure, ca (a file), user, pass.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const SECONDS = 1000;
const task = JSON.parse(process.argv[2]);
const { ImapFlow } = createRequire(`${task.library}/`)('imapflow');
const seen = { sent: [], refused: [] };

// Notes each command's name, every answer other than OK, and whatever ImapFlow found strange.
const note = strange => entry => {
    const said = String(entry.msg ?? '');
    if (entry.src === 'c') seen.sent.push(said.match(/^\S+ ((?:UID )?\S+)/)?.[1] ?? '');
    if (strange || (entry.src === 's' && /^(?!\*)\S+ (NO|BAD) /.test(said))) {
        seen.refused.push(said || String(entry.err));
    }
};

async function connect(options) {
    const client = new ImapFlow({
        host: task.host,
        port: task.port,
        secure: task.secure,
        doSTARTTLS: task.secure ? undefined : true,
        tls: { ca: readFileSync(task.ca) },
        auth: { user: task.user, pass: task.pass },
        clientInfo: { name: 'duckmail-interop', version: '1' },
        disableAutoIdle: true,
        connectionTimeout: 30 * SECONDS,
        greetingTimeout: 30 * SECONDS,
        socketTimeout: 50 * SECONDS,
        logger: { trace() {}, debug: note(false), info: note(false), warn: note(true), error: note(true) },
        ...options,
    });
    await client.connect();
    return client;
}

// The next event of this name; rejects when it does not come.
function next(client, name) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${name}`)), 30 * SECONDS);
        client.once(name, event => {
            clearTimeout(timer);
            resolve(event);
        });
    });
}

// Opens a mailbox for `work`, and gives what that gives.
async function within(client, path, options, work) {
    const lock = await client.getMailboxLock(path, options);
    try {
        return await work();
    } finally {
        lock.release();
    }
}

const letter = (subject, body, encoding = '7bit') =>
    [
        'From: a@example.org',
        `Subject: ${subject}`,
        `Message-ID: <${subject}@example.org>`,
        'MIME-Version: 1.0',
        'Content-Type: application/octet-stream',
        `Content-Transfer-Encoding: ${encoding}`,
        '',
        body,
        '',
    ].join('\r\n');

async function mailboxes(client) {
    await client.mailboxCreate(['Grüße', 'aus & Köln']);
    await client.mailboxRename('Grüße/aus & Köln', 'Grüße/aus Bonn');
    await client.mailboxCreate('Gone');
    await client.mailboxDelete('Gone');
    await client.mailboxUnsubscribe('Grüße');
    const received = new Date('2026-01-02T03:04:05Z');
    await client.append('Grüße/aus Bonn', letter('one', 'body'), ['\\Seen', '$Forwarded'], received);
    const query = { messages: true, unseen: true, uidNext: true, uidValidity: true, size: true, highestModseq: true };
    const list = await client.list({ statusQuery: query });
    return {
        list: list.map(({ path, specialUse, subscribed, status }) => [
            path,
            specialUse ?? '',
            Boolean(subscribed),
            status?.messages,
        ]),
        status: await client.status('Grüße/aus Bonn', query),
    };
}

async function reading(client) {
    const fetched = await client.fetchAll('1:*', {
        uid: true,
        flags: true,
        bodyStructure: true,
        envelope: true,
        internalDate: true,
        size: true,
        threadId: true,
        headers: ['subject', 'x-none'],
        source: true,
    });
    const parts = await client.fetchOne('2', { bodyParts: ['1', '2.MIME', { key: '2', start: 2, maxLength: 8 }] });
    const text = async stream => Buffer.concat(await stream.toArray()).toString();
    const one = await client.download('2', '2', { uid: true });
    const file = await text(one.content);
    const binary = await client.download('2', '2', { uid: true, binary: true });
    const many = await client.downloadMany('2', ['1', '2'], { uid: true });
    const part = await client.fetchOne('1', { source: { start: 6, maxLength: 6 } });
    return {
        fetched: fetched.map(each => ({
            ...each,
            modseq: each.modseq > 0n,
            source: each.source.toString('latin1'),
            headers: each.headers.toString(),
        })),
        parts: Object.fromEntries([...parts.bodyParts].map(([key, value]) => [key, value.toString()])),
        download: [one.meta.filename, file, await text(binary.content)],
        many: ['1', '2'].map(key => many[key].content.toString()),
        part: part.source.toString(),
    };
}

async function searching(client) {
    const find = (query, options) => client.search(query, { uid: true, ...options });
    return {
        text: await find({ or: [{ text: 'grüße' }, { header: { 'x-none': true } }], not: { from: 'nobody' } }),
        flags: await find({ seen: false, deleted: false, unKeyword: '$Junk', larger: 10, smaller: 1e6 }),
        dates: await find({ since: new Date('2020-01-01'), sentBefore: new Date('2026-11-04'), uid: '1:*' }),
        modseq: await find({ modseq: 1n }),
        esearch: await find({ all: true }, { returnOptions: ['MIN', 'MAX', 'COUNT', 'ALL'] }),
        partial: await find({ all: true }, { returnOptions: [{ partial: '1:1' }] }),
        none: await find({ subject: 'nothing like it' }),
    };
}

async function changing(client) {
    const appended = await client.append('INBOX', letter('third', 'a\r\n.\r\nb'), ['\\Draft']);
    const { modseq } = await client.fetchOne('1', { flags: true });
    await client.messageFlagsAdd('1', ['\\Flagged', '$Label'], { unchangedSince: modseq });
    await client.messageFlagsAdd('1', ['\\Deleted'], { unchangedSince: modseq });
    await client.messageFlagsSet('2', ['\\Seen'], { uid: true });
    await client.messageFlagsRemove({ subject: 'third' }, ['\\Draft']);
    await client.setFlagColor('2', 'purple');
    const flags = await client.fetchAll('1:*', { flags: true });
    const copied = await client.messageCopy('1:2', ['Grüße', 'aus Bonn'], { uid: true });
    const moved = await client.messageMove(String(appended.uid), 'Grüße', { uid: true });
    const binary = await client.append('INBOX', Buffer.from(letter('nul', 'a\0b', 'binary')));
    await client.messageDelete(binary.uid, { uid: true });
    return {
        appended: appended.uid,
        flags: flags.map(each => [each.uid, [...each.flags].sort(), each.flagColor ?? '']),
        copied: [...copied.uidMap],
        moved: [...moved.uidMap],
        exists: client.mailbox.exists,
    };
}

// What another session does comes while this one is idle.
async function idling(client, other) {
    await client.mailboxOpen('INBOX');
    await other.mailboxOpen('INBOX');
    const idle = client.idle();
    const exists = next(client, 'exists');
    const { uid } = await other.append('INBOX', letter('pushed', 'x'));
    const { count } = await exists;
    const flags = next(client, 'flags');
    await other.messageFlagsAdd(uid, ['\\Answered'], { uid: true });
    const changed = await flags;
    const expunge = next(client, 'expunge');
    await other.messageDelete(uid, { uid: true });
    const gone = await expunge;
    await client.noop();
    await idle;
    return { count, flags: [...changed.flags], gone: gone.uid === uid, vanished: gone.vanished };
}

// What happened to a mailbox since it was closed.
async function again(client, other) {
    const before = await client.mailboxOpen('Grüße/aus Bonn');
    await client.mailboxClose();
    await other.mailboxOpen('Grüße/aus Bonn');
    await other.messageDelete('1', { uid: true });
    await other.messageFlagsAdd('2', ['\\Answered'], { uid: true });
    const [expunge, flags] = [next(client, 'expunge'), next(client, 'flags')];
    await client.mailboxOpen('Grüße/aus Bonn', {
        changedSince: before.highestModseq,
        uidValidity: before.uidValidity,
    });
    const gone = await expunge;
    const changed = await flags;
    return { gone: [gone.uid, gone.vanished, gone.earlier], changed: changed.uid, since: before.exists };
}

const client = await connect({ qresync: true });
const other = await connect({ disableCompression: true });
seen.session = {
    server: client.serverInfo.name,
    enabled: [...client.enabled].sort(),
    plain: [...other.enabled].sort(),
    authorized: client.tls.authorized,
    namespaces: client.namespaces,
};
seen.mailboxes = await mailboxes(client);
seen.reading = await within(client, 'INBOX', { readOnly: true }, () => reading(client));
seen.searching = await within(client, 'INBOX', {}, () => searching(client));
seen.changing = await within(client, 'INBOX', {}, () => changing(client));
seen.idling = await idling(client, other);
seen.again = await again(client, other);
seen.quota = await client.getQuota('INBOX');
await other.logout();
await client.logout();
console.log(JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? Number(value) : value)));
