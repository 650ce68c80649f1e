/**
 * The one registry of errors. `docs/errors.md` is generated from it and held equal by a test.
 *
 * A message says the action, the required state and the actual one; `{name}` marks a value that the
 * thrower must give, checked by the compiler. The registry is pure data: it is in the workflow
 * bundle.
 */

export interface ErrorDefinition {
  /** Template; every `{name}` is required in {@link fail}'s details. */
  readonly message: string;
  /** Whether the same call may succeed later without anyone changing anything. */
  readonly retryable: boolean;
  readonly httpStatus: number;
  readonly exitCode: number;
  /** What the operator does next. */
  readonly remedy: string;
}

/** Process exit codes of the command line; documented in docs/errors.md. */
export const exitCodes = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  refused: 3,
  notEquivalent: 4,
  corrupt: 5,
  busy: 6,
  unreachable: 7,
  needsOperator: 8,
} as const;

const refused = { retryable: false, httpStatus: 409, exitCode: exitCodes.refused } as const;
const invalid = { retryable: false, httpStatus: 400, exitCode: exitCodes.usage } as const;
const corrupt = { retryable: false, httpStatus: 422, exitCode: exitCodes.corrupt } as const;
const away = { retryable: true, httpStatus: 503, exitCode: exitCodes.unreachable } as const;
const busy = { retryable: true, httpStatus: 423, exitCode: exitCodes.busy } as const;

export const errorRegistry = {
  'uri.invalid': {
    ...invalid,
    message: 'Cannot use storage URI "{uri}": {reason}',
    remedy: 'Give a URI such as local:///data/a, rocksdb:///data/b or sqlite:///data/c.',
  },
  'uri.unknown-scheme': {
    ...invalid,
    message: 'Cannot use storage URI "{uri}": no family has the scheme "{scheme}"; known: {known}',
    remedy: 'Use one of the known schemes, or register the family that has this one.',
  },
  'uri.mixed-families': {
    ...invalid,
    message: 'Cannot open instance: its log, metadata and snapshot must be of one family: {actual}',
    remedy: 'Give three URIs of the same family.',
  },
  'instance.missing': {
    ...refused,
    message: 'Cannot open "{instance}": nothing is there: {actual}',
    remedy: 'Check the path; use import or a migration to create an instance.',
  },
  'instance.not-empty': {
    ...refused,
    message: 'Cannot {action} "{instance}": the target must be empty: {actual}',
    remedy: 'Choose an empty target, or move what is there away yourself.',
  },
  'instance.locked': {
    ...busy,
    message: 'Cannot {action} "{instance}": it must not be open elsewhere: held by {holder}',
    remedy: 'Stop the holder, or wait until it has ended.',
  },
  'instance.staging': {
    ...refused,
    message:
      'Cannot open "{instance}": it must be complete: an import into it has not ended ({actual})',
    remedy: 'Run the import again to resume it, or discard the staging place.',
  },
  'instance.fenced': {
    ...refused,
    message:
      'Cannot open "{instance}": no fence may stand at {path}: one of {migration} for replica {replica} does, {data}',
    remedy:
      'Do not remove the file. Of "import": run the import again to complete it. Else: "quorumshift status --local <replica>" says where the replica is and what to do; "quorumshift discard <uri>" removes a fence that nothing needs any more.',
  },
  'instance.closed': {
    ...refused,
    message: 'Cannot {action} "{instance}": it must be open: it is closed',
    remedy: 'Open the instance again.',
  },
  'instance.poisoned': {
    ...refused,
    message:
      'Cannot change "{instance}": an earlier mutation must not have failed: {cause} left its outcome unknown',
    remedy: 'Close the instance and open it again: opening re-reads the disk.',
  },
  'instance.read-only': {
    ...refused,
    message: 'Cannot {action} "{instance}": it must be open for writing: it is open read-only',
    remedy: 'Open the instance read-write.',
  },
  'instance.named-by-record': {
    ...refused,
    message:
      'Cannot write to "{instance}": no binding record may name it: it belongs to replica {replica} ({record})',
    remedy: 'Choose other places, or migrate that replica, once what owns it has ended.',
  },
  'log.gap': {
    ...refused,
    message: 'Cannot append to "{instance}": entries must follow index {last}: they follow {after}',
    remedy: 'Send the missing entries first, or install a snapshot.',
  },
  'log.conflict': {
    ...refused,
    message:
      'Cannot append to "{instance}" at index {index}: the entry there must be the same or truncated first: stored term {storedTerm}, given term {givenTerm}',
    remedy: 'Truncate the suffix in the same mutation.',
  },
  'log.identity-reused': {
    ...refused,
    message:
      'Cannot append to "{instance}": entry (index {index}, term {term}) must have one payload for ever: the one given differs from the one stored',
    remedy: 'Two leaders of one term, or a corrupt sender: stop the replica and compare its peers.',
  },
  'log.term-falls': {
    ...refused,
    message:
      'Cannot append to "{instance}" at index {index}: terms must not fall along the log: the entry before has term {stored}, the one given {given}',
    remedy: 'Mend the writer: it follows another log. Truncate the suffix in the same mutation.',
  },
  'log.truncate-below-first': {
    ...refused,
    message:
      'Cannot truncate the suffix of "{instance}" to {lastKept}: it must be at least {floor}, one before the first index',
    remedy: 'Use reset to move the log to another place.',
  },
  'log.out-of-range': {
    ...refused,
    message: 'Cannot read "{instance}" at index {index}: it must be within {first}..{last}',
    remedy: 'Ask for an index of the retained range.',
  },
  'log.invalid-batch': {
    ...invalid,
    message: 'Cannot use entry batch: {reason}',
    remedy: 'Give contiguous entries in canonical form.',
  },
  'meta.term-falls': {
    ...refused,
    message:
      'Cannot save metadata of "{instance}": the term must not fall: stored {stored}, given {given}',
    remedy: 'An older writer is still alive: find and stop it.',
  },
  'meta.vote-changes': {
    ...refused,
    message:
      'Cannot save metadata of "{instance}": the vote of term {term} must not change: stored {stored}, given {given}',
    remedy: 'An older writer is still alive: find and stop it.',
  },
  'meta.conflict': {
    ...corrupt,
    message: 'Cannot open "{instance}": its two copies of the metadata must agree: {actual}',
    remedy: 'Two votes in one term: let the replica forget neither; restore it from its peers.',
  },
  'snapshot.older': {
    ...refused,
    message:
      'Cannot publish snapshot at {given} in "{instance}": it must not be below the present one, at {stored}',
    remedy: 'Discard the older snapshot.',
  },
  'snapshot.file-missing': {
    ...corrupt,
    message:
      'Cannot read snapshot of "{instance}": every listed file must be there: "{path}" is not',
    remedy: 'Take a new snapshot with the replica running, then start again.',
  },
  'snapshot.invalid-path': {
    ...invalid,
    message: 'Cannot use snapshot file name "{path}": {reason}',
    remedy: 'Use relative names of UTF-8 components without ".." or empty parts.',
  },
  'limit.exceeded': {
    ...refused,
    message: 'Cannot store state in family {family}: {what} must be {limit}: {actual}',
    remedy: 'Choose a family whose limits hold the state.',
  },
  'data.corrupt': {
    ...corrupt,
    message: 'Cannot read "{file}" at byte {offset}: {reason}',
    remedy: 'Restore the file from a copy, or let the replica rebuild its state from its peers.',
  },
  'image.corrupt': {
    ...corrupt,
    message: 'Cannot read image at byte {offset}: {reason}',
    remedy:
      'Export the image again; nothing of it has been imported. Where an import had begun, "import --discard" removes what it left.',
  },
  'image.unsupported-version': {
    ...refused,
    message: 'Cannot read image: its version must be {supported}: it is {actual}',
    remedy: 'Use a release of quorumshift that reads this version.',
  },
  'image.resume-mismatch': {
    ...refused,
    message: 'Cannot resume {action}: it must continue the same source: {actual}',
    remedy: 'Discard the staging place and start again.',
  },
  'image.source-changed': {
    ...refused,
    message:
      'Cannot read the state of "{instance}" at one cut: it must not change meanwhile: {actual}',
    remedy: 'Stop whoever writes to it, then read it again.',
  },
  'state.different': {
    retryable: false,
    httpStatus: 409,
    exitCode: exitCodes.notEquivalent,
    message: 'The states differ: {summary}',
    remedy: 'See the report: it names the earliest difference and what can be done.',
  },
  'io.failed': {
    retryable: true,
    httpStatus: 503,
    exitCode: exitCodes.unexpected,
    message: 'Cannot {action} "{path}": {reason}',
    remedy: 'Look at the machine: disk, permissions, mounts; then try again.',
  },
  'io.exchange-unsupported': {
    ...refused,
    message:
      'Cannot exchange "{path}": its file system must support renameat2 RENAME_EXCHANGE: {reason}',
    remedy: 'Keep the storage on ext4, xfs, btrfs or tmpfs, inside one mount.',
  },
  'path.not-allowed': {
    ...refused,
    message: 'Cannot use path "{path}": it must lie under one of the allowed roots: {roots}',
    remedy: "Add the root to the agent's configuration, or choose another path.",
  },
  'pair.below-watermark': {
    ...refused,
    message:
      'Cannot open pair with "{instance}": it must hold everything acknowledged, up to index {index} of term {term}: {actual}',
    remedy:
      'It has lost durable data: do not use it. Let the replica go on from the other side alone ("quorumshift replica promote <replica> --reason …", with "--side primary" where it is the mirror that has lost it), then bootstrap a new one.',
  },
  'pair.diverged': {
    ...refused,
    message:
      'Cannot open pair "{primary}" and "{mirror}": both must hold the same but for what was in flight: {actual}',
    remedy:
      'Nothing was undone. Compare both ("quorumshift verify"), then let the replica go on from the right one alone ("quorumshift replica promote <replica> --reason …", with "--side primary" where that is the right one).',
  },
  'promotion.refused': {
    ...refused,
    message: 'Cannot let {replica} go on from its {side} alone: {actual}',
    remedy: 'Nothing was changed. "quorumshift replica show <replica>" says how it stands.',
  },
  'pair.mirror-failed': {
    ...refused,
    message:
      'Cannot change "{primary}": its mirror "{mirror}" must take every change too: {reason}',
    remedy: 'Mend the mirror and open the pair again, or detach it.',
  },
  'mirror.restart-failed': {
    ...corrupt,
    message: 'Cannot begin dual write with "{instance}": another process must open it: {reason}',
    remedy:
      'Look at its disk; give the mirror up (roll back, or "replica drop"), then make it again.',
  },
  'mirror.behind': {
    retryable: true,
    httpStatus: 503,
    exitCode: exitCodes.busy,
    message:
      'Cannot begin dual write to "{instance}": it must lack at most {bytes} bytes: after {rounds} rounds it lacks more',
    remedy: 'The replica is written faster than it is copied: ask again when it is calmer.',
  },
  'host.unreachable': {
    ...away,
    message: 'Cannot ask the storage host at {socket}: it must answer: {reason}',
    remedy: 'Start it ("quorumshift host"), or name its admin socket by --socket.',
  },
  'session.fenced': {
    ...refused,
    message:
      'Cannot use session of epoch {epoch} of {replica}: it must be the one that was opened last: that is epoch {current}',
    remedy: 'Open the replica again, then replay what was not acknowledged.',
  },
  'session.invalid-request': {
    ...invalid,
    message: 'Cannot take request: {reason}',
    remedy: 'See docs/storage-host-protocol.md.',
  },
  'session.unknown-replica': {
    ...invalid,
    message: 'Cannot open {replica}: this host must serve it: it serves {served}',
    remedy: "Add it to the host's configuration, or ask the host that serves it.",
  },
  'replica.opening': {
    ...busy,
    message: 'Cannot use {replica}: it must be open: its host has been opening it since {since}',
    remedy: 'Ask again in a moment. If it stays so, its disk does not answer.',
  },
  'session.stream-idle': {
    ...busy,
    message: 'Cannot go on with the stream: it must not stand still for {idleMs} ms: it did',
    remedy: 'Begin it again, and send or take what comes without a pause.',
  },
  'session.too-many-streams': {
    ...busy,
    message: 'Cannot begin another snapshot stream: at most {most} may be under way',
    remedy: 'Try again when one has ended; the host\'s "snapshotStreams.most" is the limit.',
  },
  'record.missing': {
    ...refused,
    message:
      'Cannot {action} replica {replica}: a binding record must exist: there is none at {path}',
    remedy: 'Check cluster and member names and the state directory.',
  },
  'record.corrupt': {
    ...corrupt,
    message: 'Cannot read the binding record of replica {replica}, {path}: {reason}',
    remedy:
      'On that machine: "quorumshift repair-record <replica>" restores it from its copy. Do not start the replica before; nothing is imported or migrated there meanwhile: the record may name any place. Should the copy be damaged too, restore the whole directory from a backup whose journal.jsonl ends with the same line.',
  },
  'record.conflict': {
    ...refused,
    message: 'Cannot {action} replica {replica}: {required}: {actual}',
    remedy:
      'Look at "quorumshift status --local"; a migration that owns it must end first: resume it, then complete or roll back.',
  },
  'record.superseded': {
    ...refused,
    message: 'Step {step} of migration {migration} is superseded: {actual}',
    remedy: 'Nothing to do: a newer attempt owns the replica.',
  },
  'record.stamp-newer': {
    ...refused,
    message:
      'Cannot open "{instance}": its generation stamp {stamp} must not be newer than the record\'s {generation}',
    remedy: 'The record was lost or restored from a backup: find the newer one.',
  },
  'agent.wrong-machine': {
    ...refused,
    message: 'Cannot run activity: it must reach agent {wanted}: this one is {actual}',
    remedy: 'A machine was cloned: give each its own state directory.',
  },
  'agent.contract-version': {
    ...refused,
    message: 'Cannot run activity: its contract version must be within {supported}: it is {actual}',
    remedy: 'Upgrade the agent or the control worker.',
  },
  'agent.unreachable': {
    ...away,
    message: 'Cannot reach the agent of machine {host}: {reason}',
    remedy: 'Start the agent there; the migration goes on by itself.',
  },
  'control.unreachable': {
    ...away,
    message:
      'Cannot {action} migration of {replica}: a control worker must answer: none did in {waitedMs} ms',
    remedy:
      'Start one ("quorumshift control", or "dev"); then see status: the wish may have come through.',
  },
  'member.no-adapter': {
    ...refused,
    message:
      "Cannot {action} {replica}: the agent's configuration must say how its member is told: {actual}",
    remedy: 'Give its cluster an adapter in the configuration: docs/cluster-adapters.md.',
  },
  'member.transfer-failed': {
    retryable: true,
    httpStatus: 502,
    exitCode: exitCodes.unreachable,
    message: 'Cannot hand the leadership over from {replica} to {to}: {reason}',
    remedy:
      'See whether the cluster has a leader and the member has caught up; the rollout asks again.',
  },
  'control.no-worker': {
    ...away,
    message: 'Cannot {action}: a control worker must answer: none did in {waitedMs} ms',
    remedy: 'Start one: "quorumshift control", or "dev".',
  },
  'fence.cannot-look': {
    ...refused,
    message: 'Cannot look for open files of {instance}: the agent must be allowed to: {reason}',
    remedy: 'Run the agent as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.',
  },
  'fence.unexpected': {
    ...refused,
    message:
      'Cannot exchange "{path}": one name must hold the instance and one the fence: {actual}',
    remedy: 'Someone moved files by hand: put them back as the record says, then resume.',
  },
  'fence.needed': {
    ...refused,
    message: 'Cannot remove the fence at "{path}": nothing may need it any more: {actual}',
    remedy: 'Move the data that it names away first; else leave it: a migration may use the place.',
  },
  'hook.failed': {
    retryable: true,
    httpStatus: 502,
    exitCode: exitCodes.needsOperator,
    message: 'Hook {hook} of {replica} must end with exit code 0: {actual}',
    remedy: 'Run the hook by hand to see why, mend it, then resume.',
  },
  'hook.still-running': {
    ...busy,
    message:
      'Cannot run hook {hook} of {replica}: the one before must be gone: process group {group} is alive',
    remedy: 'Wait, or end that process group.',
  },
  'preflight.failed': {
    ...refused,
    message: 'Cannot start migration of {replica}: every preflight check must pass: {summary}',
    remedy: 'See the findings, mend them, start again. Nothing was changed.',
  },
  'migration.conflict': {
    ...refused,
    message: 'Cannot start migration {migration}: the same id must have the same input: {actual}',
    remedy: 'Use a new migration id.',
  },
  'migration.not-found': {
    retryable: false,
    httpStatus: 404,
    exitCode: exitCodes.refused,
    message: 'Cannot find migration of replica {replica}',
    remedy: 'List migrations, or look at "quorumshift status --local" on the machine.',
  },
  'schedule.not-found': {
    retryable: false,
    httpStatus: 404,
    exitCode: exitCodes.refused,
    message: 'Cannot find schedule {schedule}',
    remedy: 'List the schedules: quorumshift schedule list.',
  },
  'schedule.exists': {
    ...refused,
    message: 'Cannot create schedule {schedule}: no schedule may have this name: one has',
    remedy: 'Choose another name, or delete the schedule first; what it has started goes on.',
  },
  'migration.illegal-action': {
    ...refused,
    message: 'Cannot {action} migration of {replica}: {required}: {actual}',
    remedy: 'See status for what is possible now.',
  },
  'migration.coordinated': {
    ...refused,
    message:
      'Cannot approve the cutover of {replica}: nobody else may coordinate it: {coordinator} does, which looks at the group before each cutover',
    remedy:
      'Approve the cluster ("quorumshift cluster approve"). Is its rollout gone, start it again, or abandon this migration and resume it --from-record.',
  },
  'rollout.not-found': {
    retryable: false,
    httpStatus: 404,
    exitCode: exitCodes.refused,
    message: 'Cannot find rollout of {subject}',
    remedy: 'List rollouts: "quorumshift cluster list".',
  },
  'rollout.illegal-action': {
    ...refused,
    message: 'Cannot {action} {subject}: {required}: {actual}',
    remedy: 'See status for what is possible now.',
  },
  'rollout.conflict': {
    ...refused,
    message: 'Cannot start rollout {rollout}: the same id must mean the same rollout: {actual}',
    remedy: 'Give a new id for another rollout, or the same inventory and policy.',
  },
  'proof.stale': {
    ...refused,
    message: 'Cannot use the approval: it must name the present proof {present}: it names {given}',
    remedy: 'Look at status, then approve the proof shown there.',
  },
  'cutover.too-late': {
    ...refused,
    message: 'Cannot cut over: the window that it was approved for must be open: it ended {ended}',
    remedy: 'Wait: in the next window it is looked at, and approved, anew.',
  },
  'metrics.not-served': {
    ...refused,
    message: 'Cannot serve metrics at {address}: it must be free to listen on: {reason}',
    remedy: 'Give another --metrics-port, or end what listens there.',
  },
  'temporal.unavailable': {
    ...away,
    message: 'Cannot reach Temporal at {address}: {reason}',
    remedy:
      'Start it ("quorumshift dev"), or set TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE. "status --local" works without.',
  },
  'temporal.no-server': {
    retryable: false,
    httpStatus: 503,
    exitCode: exitCodes.unreachable,
    message: 'Cannot get a Temporal server: one of the known ways must work: {tried}',
    remedy:
      'Set TEMPORAL_ADDRESS to a running server; or install the Temporal CLI (on PATH, or named by QUORUMSHIFT_TEMPORAL_BIN); or install Go and let it be built.',
  },
  'temporal.start-failed': {
    retryable: false,
    httpStatus: 503,
    exitCode: exitCodes.unreachable,
    message: 'Cannot start Temporal server {binary}: it must answer at {address}: {reason}',
    remedy:
      'End the process that holds the port or the database file, give another --port, or name another server by TEMPORAL_ADDRESS.',
  },
  'request.invalid': {
    ...invalid,
    message: 'Cannot take request: {reason}',
    remedy: 'Correct what "errors" names; /openapi.json says what is taken.',
  },
  'request.body-too-large': {
    ...invalid,
    httpStatus: 413,
    message: 'Cannot take request: its body must have at most {bytes} bytes',
    remedy: 'Send less at once.',
  },
  'request.url-too-long': {
    ...invalid,
    httpStatus: 414,
    message: 'Cannot take request: its URL must have at most {bytes} bytes',
    remedy: 'Use a cursor as it was given, and names of at most 64 letters.',
  },
  'request.headers-too-large': {
    ...invalid,
    httpStatus: 431,
    message: 'Cannot take request: its headers must have at most {bytes} bytes in all',
    remedy: 'Send fewer or shorter headers.',
  },
  'request.media-type': {
    ...invalid,
    httpStatus: 415,
    message: 'Cannot take request: its body must be application/json: it is {actual}',
    remedy: 'Send JSON, and say so by Content-Type.',
  },
  'request.not-found': {
    ...invalid,
    httpStatus: 404,
    message: 'Cannot find resource {path}',
    remedy: '/openapi.json lists every resource.',
  },
  'request.method-not-allowed': {
    ...invalid,
    httpStatus: 405,
    message: 'Cannot {method} resource {path}: the method must be one of {allowed}',
    remedy: '/openapi.json says which methods a resource has.',
  },
  'auth.refused': {
    ...refused,
    httpStatus: 401,
    message: 'Cannot take request: a valid API token must come with it',
    remedy:
      'Send "Authorization: Bearer <token>" with one that is neither expired nor revoked; "quorumshift token create" makes one.',
  },
  'auth.role': {
    ...refused,
    httpStatus: 403,
    message: 'Cannot {action}: the token must have role {required} or more: it has {actual}',
    remedy: 'Use a token of that role; docs/api.md lists what each may do.',
  },
  'auth.approval': {
    ...refused,
    httpStatus: 403,
    message:
      'Cannot {action}: under {setting} its start is the approval of cutovers, so the token must have role {required} or more: it has {actual}',
    remedy:
      'Use a token of that role, or a policy under which every cutover waits for one; docs/api.md says which.',
  },
  'proof.not-found': {
    ...refused,
    httpStatus: 404,
    message: 'Cannot find proof or report {file} of replica {replica} on machine {host}',
    remedy:
      'GET /v1/migrations/<cluster>/<member>/proofs lists those that are kept, on the machine that the replica lies on now.',
  },
  'idempotency.key-missing': {
    ...invalid,
    message: 'Cannot take change: the header Idempotency-Key must come with it: {actual}',
    remedy: 'Send a new UUID with each change, and the same one when you repeat it.',
  },
  'idempotency.in-progress': {
    ...refused,
    retryable: true,
    message:
      'Cannot take change again: the first with this Idempotency-Key must have ended: {operation} has not',
    remedy: 'Wait, then repeat it; or ask for that operation.',
  },
  'idempotency.key-reused': {
    ...invalid,
    httpStatus: 422,
    message:
      'Cannot take change: its Idempotency-Key must be new: operation {operation} has it, for something else',
    remedy: 'Send a new key with each change.',
  },
  'operation.not-found': {
    ...refused,
    httpStatus: 404,
    message: 'Cannot find operation {operation}',
    remedy:
      'They are kept for a day; see the audit trail for older ones. One that a restart of the API cut off is gone: send the call again with its key.',
  },
  'api.rate-limited': {
    ...busy,
    httpStatus: 429,
    message: 'Cannot take request: at most {most} may come in {window}',
    remedy: 'Wait as long as Retry-After says; watch by /events instead of asking again.',
  },
  'api.overloaded': {
    ...away,
    message: 'Cannot take request: at most {most} {what} may be under way',
    remedy: 'Try again in a moment.',
  },
  'api.unreachable': {
    ...away,
    message: 'Cannot reach the API at {url}: {reason}',
    remedy:
      'Start it ("quorumshift api"), or mend QUORUMSHIFT_API; unset it to speak to Temporal yourself, as an administrator.',
  },
  'config.invalid': {
    ...invalid,
    message: 'Cannot use configuration {file}: {reason}',
    remedy: 'Correct the file as the message says.',
  },
  'inventory.invalid': {
    ...invalid,
    message: 'Cannot use inventory {file}: {problems}',
    remedy:
      'Correct the lines named; docs/inventory-and-policy.md says what each key means. An editor that reads docs/schemas checks it as you type.',
  },
  'policy.invalid': {
    ...invalid,
    message: 'Cannot use rollout policy {file}: {problems}',
    remedy:
      'Correct the lines named; docs/inventory-and-policy.md says what each key means. An editor that reads docs/schemas checks it as you type.',
  },
  'rollout.invalid': {
    ...invalid,
    message: 'Cannot make a rollout of {subject}: {reason}',
    remedy: 'Correct the inventory, the policy or the selection; nothing was started.',
  },
  'snapshot.unknown': {
    retryable: false,
    httpStatus: 404,
    exitCode: exitCodes.refused,
    message: 'Cannot read rollout snapshot {digest}: the store at {store} must hold it: {actual}',
    remedy:
      'Run the store worker over the directory in which the rollout was started ("controlDir"); a backup of it holds the snapshot too.',
  },
  'store.unusable': {
    ...refused,
    message: 'Cannot use the control store {file}: {reason}',
    remedy:
      'See docs/audit.md. A store of a newer release needs that release; a damaged one is restored from a backup.',
  },
  'audit.conflict': {
    ...refused,
    message:
      'Cannot write audit entry "{id}": the same id must tell the same: line {seq} tells something else',
    remedy: 'Give each operation an id of its own.',
  },
  'audit.broken': {
    ...corrupt,
    message: 'Cannot trust the audit trail {place}: {reason}',
    remedy:
      'Nothing is written after a trail that lost its end. "quorumshift audit verify" shows what is there; docs/audit.md says how a loss that is understood is accepted.',
  },
  'token.unknown': {
    retryable: false,
    httpStatus: 404,
    exitCode: exitCodes.refused,
    message: 'Cannot {action} token "{name}": it must exist: it does not',
    remedy: 'See "quorumshift token list".',
  },
  'token.exists': {
    ...refused,
    message: 'Cannot create token "{name}": its name must be free: {actual}',
    remedy: 'Choose another name, or revoke that one first.',
  },
  'usage.invalid': {
    ...invalid,
    message: 'Cannot run command: {reason}',
    remedy: 'See --help.',
  },
} as const satisfies Record<string, ErrorDefinition>;
