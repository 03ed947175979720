const TIME = '"2026-01-01T00:00:00.000Z"';

function event(type: string, status: string): string {
  return (
    `{"id":"evt_","type":"${type}","timestamp":${TIME},"data":{"run_id":"","run":{"id":"",` +
    `"workflow_id":"","group_id":"","workflow_version_id":null,"status":"${status}",` +
    `"progress":100,"created_at":${TIME},"started_at":${TIME},"finished_at":null,"source":"api",` +
    `"user_id":null,"conversation_id":null,"observed_at":${TIME}},` +
    `"previous":{"status":"running","progress":0},"nodes":null,"sequence":1,"detected_at":${TIME},` +
    `"detection_delay_ms":null,"workflow_name":null,"run_url":null,"watch_url":null,"watch":{"source":"default","metadata":{},"registered_at":${TIME}}}}`
  );
}

function attempt(status: number | null, error: string): string {
  return `{"at":17,"status":${status},"error":${error},"durationMs":1,"response":null}`;
}

function failed(code: string, message: string): string {
  return attempt(500, `{"code":"${code}","message":"${message}"}`);
}

function delivery(state: string, type: string, last: string): string {
  return (
    `{"id":"dlv_","eventId":"evt_","eventType":"${type}","source":"default","runId":"",` +
    `"endpoint":"default","state":"${state}","attemptCount":1,"step":1,"requested":false,` +
    `"urgent":false,"nextAttemptAt":null,"createdAt":17,"deliveredAt":17,"last":${last}}`
  );
}

const DELIVERED = attempt(200, 'null');

const RARE = [
  '"acknowledged":{"by":"","comment":null,"at":17,"until":null},"changedAt":1,',
  '"nodes":{"executed":1,"remaining":1,"running":[""],"failed":[""]},',
  '"run_url":"https://app.noxus.ai/workflows/","watch_url":"https://runwatch.',
  'run.status_unknown run.gone watch.expired watch.unreachable watch.recovered run.stalled',
  ' run.recovered "lasted_ms":1,"usual_ms":null,"waited_ms":1,"reminder":1,',
  `"error":{"code":"not_found","message":"","since":${TIME}}`,
  failed('timeout', 'no answer within '),
  failed('refused', 'connection refused'),
  failed('http_status', 'status 503'),
  '"requested":true "superseded","attemptCount":0 "skipped","attemptCount":0 "deliveredAt":null',
  ' "status":204 "status":null',
  '"subscriptions":[{"kind":"webhook","receiver":"https://","events":["*"],"sealed":"v1.",',
  '"formerWebhooks":[],"profile":"urgent","maxDelayMs":1,"state":"expired","state":"gone",',
  '"state":"cancelled","trouble":{"kind":"unavailable","message":"","since":17},',
  '"gone":{"code":"not_found"',
];

const DOCUMENT =
  '{"state":"finished","run":{"workflow_id":"","group_id":"","workflow_version_id":"",' +
  `"status":"completed","progress":100,"created_at":${TIME},"started_at":${TIME},` +
  `"finished_at":${TIME},"source":"api"},"metadata":{},` +
  '"subscriptions":[{"kind":"endpoint","endpoint":"default"}],"sequence":1,' +
  '"pastEnds":["run.completed"],"registeredAt":17,"timeoutAt":604800000,"endedAt":1,' +
  '"notice":{"eventId":"evt_completed_","type":"run.completed"},"stages":[["running:",0,1,1000]]}';

/**
 * Text that packed records have in common: deflate refers to it rather than spell it out. It belongs
 * to the form of `history-codec.ts`: another text makes it another form. The most frequent text is last,
 * where references are shortest.
 */
export const DICTIONARY = Buffer.from(
  [
    ...RARE,
    event('run.stopped', 'stopped'),
    event('run.failed', 'failed'),
    event('run.resumed', 'running'),
    event('run.awaiting_human_feedback', 'awaiting_human_feedback'),
    event('run.progress', 'running'),
    event('run.started', 'running'),
    delivery('dead', 'run.failed', failed('http_status', 'status 500')),
    `          1         1         1         1         1         0${DOCUMENT}\n`,
    `[[1,${event('run.completed', 'completed')}]]\n`,
    `[[1,2,17,${delivery('delivered', 'run.completed', DELIVERED)},[${DELIVERED}]]]`,
  ].join(''),
);
