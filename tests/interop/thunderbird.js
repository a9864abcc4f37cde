// What a person does in Thunderbird, by its own interfaces; run as chrome code. `parameters`: a step's name, and what
// it takes. Nothing here waits for a time: only for what is to be seen, and then at most SECONDS: longer than the two
// minutes behind which the server says in IDLE that it is still there, which wakes whoever has left something unread.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const SECONDS = 150;
const Flags = Ci.nsMsgFolderFlags;

async function until(what, condition) {
    for (const deadline = Date.now() + SECONDS * 1000; Date.now() < deadline; ) {
        const found = condition();
        if (found) return found;
        await new Promise(resolve => setTimeout(resolve, 20));
    }
    throw new Error(`waited ${SECONDS} s for ${what}`);
}

// A promise that `start` is given the two ends of, and the listener that it makes of them.
const heard = (name, start) =>
    new Promise((resolve, reject) =>
        start(methods => ({ QueryInterface: ChromeUtils.generateQI([name]), ...methods }), (status, value) =>
            Components.isSuccessCode(status) ? resolve(value) : reject(new Error(`${name}: 0x${status.toString(16)}`)),
        ),
    );

const server = user => MailServices.accounts.findServer(user, "localhost", "imap");
const identity = user => MailServices.accounts.allIdentities.find(each => each.email === user);
const special = (user, flag) => server(user).rootFolder.getFolderWithFlags(flag);
const inbox = user => special(user, Flags.Inbox);
const folder = (user, path) =>
    path.split("/").reduce((at, name) => at?.subFolders.find(each => each.name === name), server(user).rootFolder);
const subjects = at => [...at.messages].map(each => each.mime2DecodedSubject).sort();
const message = (at, subject) => [...at.messages].find(each => each.mime2DecodedSubject === subject);

// Has the mailbox looked at until just these messages are shown: again, as what it waits for may come after a look.
function has(at, ...wanted) {
    let next = 0;
    return shown(at, wanted, () => {
        if (Date.now() < next) return;
        next = Date.now() + 5000;
        at.updateFolder(null);
    });
}

function shown(at, wanted, look = () => {}) {
    const all = JSON.stringify(wanted.sort());
    return until(`${at.name} with ${all}, it has ${JSON.stringify(subjects(at))}`, () => {
        look();
        return JSON.stringify(subjects(at)) === all;
    });
}

function remember(origin, user, password) {
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    login.init(origin, null, origin, user, password, "", "");
    return Services.logins.addLoginAsync(login);
}

// As "Confirm security exception" does.
function trust(port, certificate) {
    const known = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).constructX509FromBase64(certificate);
    const exceptions = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
    exceptions.rememberValidityOverride("localhost", port, {}, known, true);
}

function write(user, subject, body) {
    const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
    Object.assign(fields, { from: user, to: user, subject, body, fcc: identity(user).fccFolderURI });
    const how = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
    const format = Ci.nsIMsgCompFormat.PlainText;
    Object.assign(how, { composeFields: fields, identity: identity(user), format, type: Ci.nsIMsgCompType.New });
    // The window holds it: else it may be collected as garbage while it is sent, and with it who waits for that.
    return (window.writing = MailServices.compose.initCompose(how, null, null));
}

const steps = {
    async add({ user, password, imap, smtp, tls, certificate }) {
        const socketType = tls ? Ci.nsMsgSocketType.SSL : Ci.nsMsgSocketType.alwaysSTARTTLS;
        const how = { socketType, authMethod: Ci.nsMsgAuthMethod.passwordCleartext };
        for (const port of [imap, smtp]) trust(port, certificate);
        for (const scheme of ["imap", "smtp"]) await remember(`${scheme}://localhost`, user, password);
        const incoming = MailServices.accounts.createIncomingServer(user, "localhost", "imap");
        Object.assign(incoming, { port: imap, ...how });
        const outgoing = MailServices.outgoingServer.createServer("smtp").QueryInterface(Ci.nsISmtpServer);
        Object.assign(outgoing, { hostname: "localhost", port: smtp, username: user, ...how });
        const person = MailServices.accounts.createIdentity();
        Object.assign(person, { email: user, fullName: "A Person", smtpServerKey: outgoing.key });
        const account = MailServices.accounts.createAccount();
        account.addIdentity(person);
        account.incomingServer = incoming;
        incoming.getNewMessages(incoming.rootFolder, null, null);
        await until("the folders", () => inbox(user) && special(user, Flags.Trash) && special(user, Flags.SentMail));
    },

    folders: ([user]) => server(user).rootFolder.descendants.map(each => decodeURIComponent(each.URI).split("@localhost/")[1]),

    // Waits until these are shown in the INBOX, without asking for it: they are pushed.
    pushed: ([user, ...wanted]) => shown(inbox(user), wanted),

    inbox: ([user, ...wanted]) => has(inbox(user), ...wanted),

    // Its octets, as latin-1.
    read([user, subject]) {
        const uri = inbox(user).getUriForMsg(message(inbox(user), subject));
        let octets = "";
        const stream = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
        return heard("nsIStreamListener", (listener, ended) => {
            const reading = listener({
                onStartRequest() {},
                onStopRequest: (_, status) => ended(status, octets),
                onDataAvailable(_, input, offset, count) {
                    stream.setInputStream(input);
                    octets += stream.readBytes(count);
                },
            });
            MailServices.messageServiceFromURI(uri).streamMessage(uri, reading, null, null, false, "", false);
        });
    },

    async makeFolders([user]) {
        server(user).rootFolder.createSubfolder("Grüße", null);
        await until("a folder", () => folder(user, "Grüße"));
        folder(user, "Grüße").createSubfolder("Below", null);
        await until("a folder below", () => folder(user, "Grüße/Below"));
        folder(user, "Grüße/Below").rename("Renamed", null);
        await until("its new name", () => folder(user, "Grüße/Renamed"));
    },

    async sort([user]) {
        const [from, to, trash] = [inbox(user), folder(user, "Grüße"), special(user, Flags.Trash)];
        const at = subject => message(from, subject);
        from.markMessagesRead([at("letter 1")], true);
        from.markMessagesFlagged([at("letter 2")], true);
        from.addKeywordsToMessages([at("letter 2")], "$label1");
        MailServices.copy.copyMessages(from, [at("letter 0"), at("letter 1")], to, false, null, null, false);
        await has(to, "letter 0", "letter 1");
        MailServices.copy.copyMessages(from, [at("letter 2")], to, true, null, null, false);
        await has(to, "letter 0", "letter 1", "letter 2");
        from.deleteMessages([at("letter 3")], null, false, false, null, false);
        await has(trash, "letter 3");
    },

    // On the server: header fields, or `Body`.
    search([user, attribute, words]) {
        const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
        session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, inbox(user));
        const term = session.createTerm();
        const value = term.value;
        value.attrib = term.attrib = Ci.nsMsgSearchAttrib[attribute];
        value.str = words;
        Object.assign(term, { op: Ci.nsMsgSearchOp.Contains, value, booleanAnd: true });
        session.appendTerm(term);
        const found = [];
        return heard("nsIMsgSearchNotify", (listener, ended) => {
            const onSearchHit = hit => found.push(hit.mime2DecodedSubject);
            const onSearchDone = status => ended(status, found.sort());
            session.registerListener(listener({ onSearchHit, onSearchDone, onNewSearch() {} }));
            session.search(null);
        });
    },

    isRead: ([user, subject]) => until("it to be read", () => message(inbox(user), subject).isRead),

    async send([user, subject, body]) {
        await write(user, subject, body).sendMsg(Ci.nsIMsgCompDeliverMode.Now, identity(user), "", null, null);
        await has(special(user, Flags.SentMail), subject);
        const draft = write(user, "a draft", body);
        await draft.sendMsg(Ci.nsIMsgCompDeliverMode.SaveAsDraft, identity(user), "", null, null);
        await has(special(user, Flags.Drafts), "a draft");
    },

    // Throws a folder away, and empties the trash.
    async tidy([user]) {
        const trash = special(user, Flags.Trash);
        MailServices.copy.copyFolder(folder(user, "Grüße/Renamed"), trash, true, null, null);
        await until("it to be in the trash", () => folder(user, "Trash/Renamed") && !folder(user, "Grüße/Renamed"));
        trash.emptyTrash(null);
        await has(trash);
        await until("the trash to be empty", () => trash.numSubFolders === 0);
        inbox(user).compact(null, null);
    },
};

const [step, ...taken] = parameters;
return steps[step](taken.length === 1 && typeof taken[0] === "object" ? taken[0] : taken);
