import { z } from 'zod';
import {
  alertDetail,
  alertOrReceipt,
  alertPage,
  alertParams,
  alertQuery,
  rehearsal,
  rulePage,
  rehearseRequest,
} from './alert.ts';
import { acknowledgedFailures, attentionPage, attentionQuery } from './attention.ts';
import { auditPage, auditQuery } from './audit.ts';
import {
  batchOrReceipt,
  batchPage,
  batchParams,
  batchQuery,
  batchSchema,
  batchSettings,
  newBatchParams,
} from './batch.ts';
import { acknowledgeRequest, resolveRequest } from './common.ts';
import {
  deliveryPage,
  deliveryParams,
  deliveryQuery,
  deliveryWithAttempts,
  redeliverCount,
  redelivered,
  redeliverOne,
  redeliverRange,
} from './delivery.ts';
import {
  endpointList,
  endpointParams,
  endpointSchema,
  endpointSecret,
  endpointTest,
  rotatedSecret,
  rotateRequest,
} from './endpoint.ts';
import { eventPage, eventQuery, streamHeaders, streamQuery } from './event.ts';
import { lookupAnswer, lookupQuery } from './lookup.ts';
import {
  previewRequest,
  silenceList,
  silenceOrReceipt,
  silenceParams,
  silencePreview,
  silenceRequest,
} from './silence.ts';
import { sourceList, sourceParams, sourceSchema } from './source.ts';
import { processList, storeSchema } from './system.ts';
import { timelineSchema } from './timeline.ts';
import { endedWebhooks, webhookList, webhookQuery } from './watch-webhook.ts';
import {
  batchRequest,
  batchResults,
  pollAnswer,
  registration,
  stopAnswer,
  unwatchQuery,
  watchKeyQuery,
  watchOrReceipt,
  watchPage,
  watchParams,
  watchQuery,
  watchRequest,
  watchSchema,
} from './watch.ts';
import {
  pollingPage,
  pollingQuery,
  workflowList,
  workflowParams,
  workflowQuery,
} from './workflow.ts';

/** How a call of the API is made and answered. What answers it is a method of its slice. */
export interface Route {
  /** Method and path, as the document of the API writes them. */
  route: `${'GET' | 'POST' | 'PUT' | 'DELETE'} /v1/${string}`;
  /** Its name in the document. */
  id: string;
  tag: string;
  summary: string;
  description?: string;
  /** What its token is good for. */
  scope: 'read' | 'write' | 'admin';
  /** Some of what a call may ask for needs the scope `admin` instead: the slice requires the one that it is. */
  orAdmin?: true;
  /**
   * How it serves tokens that are limited to sources: `limited`, its answers are limited to these; `any`, nothing
   * in it belongs to a source; `refused`, it refuses them.
   */
  sources: 'limited' | 'any' | 'refused';
  /** It sends something: a daemon that was started with --no-deliver refuses it. */
  sends?: true;
  /** Its work grows with the number of records: only some run at a time. */
  isHeavy?: true;
  /** From the request to its answer, ms, where that takes longer than usual. */
  limitMs?: number;
  params?: z.ZodType;
  query?: z.ZodType;
  headers?: z.ZodType;
  body?: z.ZodType;
  answers: Answers;
}

/** By status: what it means, with the schema of a body; a refusal has the body of every problem. */
interface Answers {
  200?: Body;
  201?: Body;
  202?: Body;
  204?: string;
  404?: string;
  409?: string;
  410?: string;
  429?: string;
  502?: string;
  503?: string;
  504?: string;
}

/** JSON, unless it names another type. */
export type Body = readonly [text: string, schema: z.ZodType, type?: string];

const STALE_CURSOR = {
  410: 'The store has lost data since the cursor was given; start anew.',
};

const NOT_ONE_WATCH = {
  404: 'The run is not watched.',
  409: 'Several sources have the run; the answer names them.',
};

const NOT_ONE_BATCH = {
  404: 'No batch has this name or id.',
  409: 'Several batches have this name; the answer names their ids.',
};

const UNKNOWN_DELIVERY = 'There is no such delivery.';

const NOT_ONE_ENDPOINT = {
  404: 'No endpoint has this name.',
  409: 'Several webhooks of watches are shown by this name.',
};

const UNKNOWN_ALERT = 'There is no such alert.';
const UNKNOWN_SOURCE = 'No source has this name.';
const NO_FAILURES = 'Nothing has failed since a run completed (`nothing_failed`).';
const ALERT_OVER = 'The alert has resolved, or its rule is configured no more.';

/**
 * The routes of the API by slice. The server, the document, the client and the scopes in the help of verbs follow
 * from it. The document lists them in this order.
 */
export const routes = {
  watches: {
    register: {
      route: 'POST /v1/watches',
      id: 'registerWatch',
      tag: 'Watches',
      summary: 'Watch a run',
      description:
        'Subscriptions of a run that is already watched are merged, by endpoint name or URL; metadata and timeout are replaced. A watch has up to 50 webhooks. If the run is already settled, the new subscription is notified at once; where its source counts attempts, once a poll shows that no later one runs. A token that may not read gets a receipt.',
      scope: 'write',
      sources: 'limited',
      body: watchRequest,
      answers: {
        200: ['The run was watched already.', registration],
        201: ['The run is watched from now on.', registration],
        409: 'The token has registered as many active watches as it may, the batch takes no more runs (`batch_closed`, `batch_full`, `too_many_batches`), or the idempotency key came with another request.',
      },
    },
    list: {
      route: 'GET /v1/watches',
      id: 'listWatches',
      tag: 'Watches',
      summary: 'List watches, newest first',
      description:
        'A page may have fewer watches than asked for, and still a `next_cursor`: where hardly any of very many watches match, one answer examines a bounded number of them.',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: watchQuery,
      answers: { 200: ['A page of watches.', watchPage], ...STALE_CURSOR },
    },
    get: {
      route: 'GET /v1/watches/{run_id}',
      id: 'getWatch',
      tag: 'Watches',
      summary: 'Show one watch',
      scope: 'read',
      sources: 'limited',
      params: watchParams,
      query: watchKeyQuery,
      answers: { 200: ['The watch.', watchSchema], ...NOT_ONE_WATCH },
    },
    poll: {
      route: 'POST /v1/watches/{run_id}/poll',
      id: 'pollWatch',
      tag: 'Watches',
      summary: 'Poll a run now',
      scope: 'write',
      sources: 'limited',
      params: watchParams,
      query: watchKeyQuery,
      answers: {
        202: ['The run is polled as soon as its source takes requests.', pollAnswer],
        ...NOT_ONE_WATCH,
        409: 'The watch has ended, or several sources have the run.',
      },
    },
    timeline: {
      route: 'GET /v1/watches/{run_id}/timeline',
      id: 'getTimeline',
      tag: 'Watches',
      summary: 'Show what happened around a run',
      description:
        'States, polls, events and deliveries on one axis of time, and the alerts that have the run. They say when and how late a receiver was notified, and what took the time.',
      scope: 'read',
      sources: 'limited',
      params: watchParams,
      query: watchKeyQuery,
      answers: { 200: ['The timeline.', timelineSchema], ...NOT_ONE_WATCH },
    },
    unwatch: {
      route: 'DELETE /v1/watches/{run_id}',
      id: 'unwatch',
      tag: 'Watches',
      summary: 'Stop watching a run',
      description:
        'A watch that has ended stays as it is. With `endpoint`, only that subscription ends. With `purge=true` the watch is erased, ended or not, with its events and deliveries; this needs the scope `admin` instead.',
      scope: 'write',
      orAdmin: true,
      sources: 'limited',
      params: watchParams,
      query: unwatchQuery,
      answers: {
        204: 'The run is not watched any more, or the subscription has ended.',
        ...NOT_ONE_WATCH,
        404: 'The run was never watched, or has no such subscription.',
      },
    },
    registerBatch: {
      route: 'POST /v1/watches/batch',
      id: 'registerWatches',
      tag: 'Watches',
      summary: 'Watch many runs',
      description:
        'One result for each watch, in order; a bad one spoils no other. With `batch`, all join that batch, which then is closed unless `open` is true.',
      scope: 'write',
      sources: 'limited',
      body: batchRequest,
      answers: { 200: ['What became of each watch.', batchResults] },
    },
    acknowledge: {
      route: 'POST /v1/watches/{run_id}/acknowledge',
      id: 'acknowledgeWatch',
      tag: 'Watches',
      summary: 'Say that a run is taken in hand',
      description:
        'There are no reminders and no escalation until its state changes, or until the time that is given. A token that may not read gets a receipt.',
      scope: 'write',
      sources: 'limited',
      params: watchParams,
      query: watchKeyQuery,
      body: acknowledgeRequest,
      answers: { 200: ['The run is acknowledged.', watchOrReceipt], ...NOT_ONE_WATCH },
    },
    withdraw: {
      route: 'DELETE /v1/watches/{run_id}/acknowledge',
      id: 'withdrawAcknowledgement',
      tag: 'Watches',
      summary: 'Take back that a run is taken in hand',
      scope: 'write',
      sources: 'limited',
      params: watchParams,
      query: watchKeyQuery,
      answers: { 204: 'The run is not acknowledged any more.', ...NOT_ONE_WATCH },
    },
  },
  stops: {
    stop: {
      route: 'POST /v1/watches/{run_id}/stop',
      id: 'stopRun',
      tag: 'Watches',
      summary: 'Stop a run',
      description:
        'Asks the source once to stop the run, within its rate limit, and then polls it: the event `run.stopped` says that it has stopped. No answer makes runwatch ask again, and the same `Idempotency-Key` gives the first answer of a request that was sent. runwatch stops no run by itself.',
      scope: 'admin',
      sends: true,
      sources: 'limited',
      params: watchParams,
      query: watchKeyQuery,
      answers: {
        202: ['The source was asked.', stopAnswer],
        ...NOT_ONE_WATCH,
        409: 'The run has ended (`run_ended`), the source cannot stop runs (`cannot_stop`), or several sources have the run.',
        429: 'The rate limit of the source has no room: it was not asked. `Retry-After` says when to try again.',
        502: 'The source refuses it (`source_refused`), for the reason that it gives.',
        503: 'The source is paused or cannot be reached, or Redis cannot: the source was not asked. `Retry-After` says when to try again.',
        504: 'The source was asked and gave no answer: it is not known whether the run is stopping (`stop_unknown`).',
      },
    },
  },
  batches: {
    list: {
      route: 'GET /v1/batches',
      id: 'listBatches',
      tag: 'Batches',
      summary: 'List batches, newest first',
      description:
        'Those that have completed are listed for as long as watches are kept. A token that is limited to sources sees those of its own. A page may have fewer than asked for, and still a `next_cursor`.',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: batchQuery,
      answers: { 200: ['A page of batches.', batchPage], ...STALE_CURSOR },
    },
    get: {
      route: 'GET /v1/batches/{name}',
      id: 'getBatch',
      tag: 'Batches',
      summary: 'Show one batch',
      description:
        'By its name the newest of that name, by its id any. `GET /v1/watches?batch=` lists its runs.',
      scope: 'read',
      sources: 'limited',
      params: batchParams,
      answers: { 200: ['The batch.', batchSchema], ...NOT_ONE_BATCH },
    },
    put: {
      route: 'PUT /v1/batches/{name}',
      id: 'setBatch',
      tag: 'Batches',
      summary: 'Set up a batch',
      description:
        'Sets what is given and takes back the rest. Where no batch has the name, or that one has completed, a new one begins, which runs may join. A token that may not read gets a receipt.',
      scope: 'write',
      sources: 'limited',
      params: newBatchParams,
      body: batchSettings,
      answers: {
        200: ['The batch as it is now.', batchOrReceipt],
        201: ['A new batch.', batchOrReceipt],
        409: 'The batch is closed, so that `expected` cannot change (`batch_closed`), or there are as many batches as are kept (`too_many_batches`).',
      },
    },
    close: {
      route: 'POST /v1/batches/{name}/close',
      id: 'closeBatch',
      tag: 'Batches',
      summary: 'Close a batch',
      description:
        'No run joins it any more, and it completes once all have ended. One that is not open stays as it is. A token that may not read gets a receipt.',
      scope: 'write',
      sources: 'limited',
      params: batchParams,
      answers: { 200: ['The batch as it is now.', batchOrReceipt], ...NOT_ONE_BATCH },
    },
    remove: {
      route: 'DELETE /v1/batches/{name}',
      id: 'deleteBatch',
      tag: 'Batches',
      summary: 'Forget a batch',
      description:
        'Its runs are watched as before; no event says any more that they have ended. Its name is free.',
      scope: 'write',
      sources: 'limited',
      params: batchParams,
      answers: { 204: 'The batch is forgotten.', ...NOT_ONE_BATCH },
    },
  },
  events: {
    list: {
      route: 'GET /v1/events',
      id: 'listEvents',
      tag: 'Events',
      summary: 'List events, oldest first unless asked otherwise',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: eventQuery,
      answers: { 200: ['A page of events.', eventPage], ...STALE_CURSOR },
    },
    stream: {
      route: 'GET /v1/events/stream',
      id: 'streamEvents',
      tag: 'Events',
      summary: 'Follow events as they happen',
      description:
        'Server-sent events: `id:` is the cursor, `event:` the type, `data:` the event. `Last-Event-ID` or `after` resumes where a reader left off; where the store has lost data since, `event: reset` comes first; without either the stream begins now, at the cursor in the header `runwatch-cursor`.',
      scope: 'read',
      sources: 'limited',
      query: streamQuery,
      headers: streamHeaders,
      answers: { 200: ['Events until one side hangs up.', z.string(), 'text/event-stream'] },
    },
  },
  deliveries: {
    list: {
      route: 'GET /v1/deliveries',
      id: 'listDeliveries',
      tag: 'Deliveries',
      summary: 'List deliveries, newest first',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: deliveryQuery,
      answers: { 200: ['A page of deliveries.', deliveryPage], ...STALE_CURSOR },
    },
    get: {
      route: 'GET /v1/deliveries/{id}',
      id: 'getDelivery',
      tag: 'Deliveries',
      summary: 'Show one delivery with its attempts',
      scope: 'read',
      sources: 'limited',
      params: deliveryParams,
      answers: { 200: ['The delivery.', deliveryWithAttempts], 404: UNKNOWN_DELIVERY },
    },
    redeliver: {
      route: 'POST /v1/deliveries/{id}/redeliver',
      id: 'redeliver',
      tag: 'Deliveries',
      summary: 'Deliver again',
      description:
        'With the same event id, so that receivers see a repeat. It is due at once, whatever its state; one that is behind others in the order of its run makes the first of these due. With `endpoint` that endpoint gets the event, and the delivery, if it waits, is superseded; this needs the scope `admin` instead.',
      scope: 'write',
      sends: true,
      orAdmin: true,
      sources: 'limited',
      params: deliveryParams,
      body: redeliverOne.optional(),
      answers: {
        202: ['What goes out: with `endpoint`, the delivery there.', redelivered],
        404: UNKNOWN_DELIVERY,
      },
    },
    redeliverRange: {
      route: 'POST /v1/deliveries/redeliver',
      id: 'redeliverRange',
      tag: 'Deliveries',
      summary: 'Deliver many again',
      description:
        'All that match go out again, as fast as their receivers take them. Without a state those are meant that are dead or were skipped. With `to` that endpoint gets the events; then those that wait are meant, too, and are superseded. This needs the scope `admin` instead.',
      scope: 'write',
      sends: true,
      orAdmin: true,
      sources: 'limited',
      body: redeliverRange,
      answers: { 202: ['How many go out again.', redeliverCount] },
    },
  },
  alerts: {
    list: {
      route: 'GET /v1/alerts',
      id: 'listAlerts',
      tag: 'Alerts',
      summary: 'List alerts, newest first',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: alertQuery,
      answers: { 200: ['A page of alerts.', alertPage], ...STALE_CURSOR },
    },
    get: {
      route: 'GET /v1/alerts/{id}',
      id: 'getAlert',
      tag: 'Alerts',
      summary: 'Show one alert, with its rule in words and its history',
      scope: 'read',
      sources: 'limited',
      params: alertParams,
      answers: { 200: ['The alert.', alertDetail], 404: UNKNOWN_ALERT },
    },
    acknowledge: {
      route: 'POST /v1/alerts/{id}/acknowledge',
      id: 'acknowledgeAlert',
      tag: 'Alerts',
      summary: 'Say that an alert is taken in hand',
      description:
        'There are no reminders, updates and no escalation until it resolves, or until the time that is given. A token that may not read gets a receipt.',
      scope: 'write',
      sources: 'limited',
      params: alertParams,
      body: acknowledgeRequest,
      answers: {
        200: ['The alert is acknowledged.', alertOrReceipt],
        404: UNKNOWN_ALERT,
        409: ALERT_OVER,
      },
    },
    withdraw: {
      route: 'DELETE /v1/alerts/{id}/acknowledge',
      id: 'unacknowledgeAlert',
      tag: 'Alerts',
      summary: 'Take back that an alert is taken in hand',
      scope: 'write',
      sources: 'limited',
      params: alertParams,
      answers: {
        204: 'The alert is not acknowledged any more.',
        404: UNKNOWN_ALERT,
        409: ALERT_OVER,
      },
    },
    resolve: {
      route: 'POST /v1/alerts/{id}/resolve',
      id: 'resolveAlert',
      tag: 'Alerts',
      summary: 'End an alert by hand',
      description:
        'Its end is notified as any end is; of an alert that nobody was notified of, nothing is sent. Where the cause goes on, the next event that meets the rule opens another alert. One that has resolved stays as it is. A token that may not read gets a receipt.',
      scope: 'write',
      sources: 'limited',
      params: alertParams,
      body: resolveRequest,
      answers: {
        200: ['The alert has resolved, now or before.', alertOrReceipt],
        404: UNKNOWN_ALERT,
      },
    },
  },
  silences: {
    add: {
      route: 'POST /v1/silences',
      id: 'addSilence',
      tag: 'Silences',
      summary: 'Silence notifications for a while',
      description:
        'What it matches is recorded and counted, and not notified of. A token that may not read gets a receipt.',
      scope: 'write',
      sources: 'limited',
      body: silenceRequest,
      answers: {
        200: ['There is a silence with this key.', silenceOrReceipt],
        201: ['The silence.', silenceOrReceipt],
        409: 'There are 1,000 silences.',
      },
    },
    list: {
      route: 'GET /v1/silences',
      id: 'listSilences',
      tag: 'Silences',
      summary: 'List silences: in force, to come, expired',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      answers: { 200: ['All silences.', silenceList] },
    },
    expire: {
      route: 'DELETE /v1/silences/{id}',
      id: 'expireSilence',
      tag: 'Silences',
      summary: 'End a silence now',
      scope: 'write',
      sources: 'limited',
      params: silenceParams,
      answers: { 204: 'It is over.', 404: 'There is no such silence.' },
    },
    preview: {
      route: 'POST /v1/silences/preview',
      id: 'previewSilence',
      tag: 'Silences',
      summary: 'Show what a silence would match',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      body: previewRequest,
      answers: { 200: ['What it matches now and in the last 24 hours.', silencePreview] },
    },
  },
  rules: {
    list: {
      route: 'GET /v1/rules',
      id: 'listRules',
      tag: 'Alerts',
      summary: 'List the rules in force',
      scope: 'read',
      sources: 'refused',
      answers: { 200: ['The rules.', rulePage] },
    },
    test: {
      route: 'POST /v1/rules/test',
      id: 'testRules',
      tag: 'Alerts',
      summary: 'Show what rules would have sent for stored events',
      description:
        'Nothing is sent and nothing changes. Silences and acknowledgements do not count. Each section that is given stands in for that of the configuration. Absence counts from the events before, as if runwatch had been up ever since; deadlines are those of runs that ended in that time or go on. What was not rehearsed says so.',
      scope: 'read',
      sources: 'refused',
      isHeavy: true,
      body: rehearseRequest,
      answers: { 200: ['What would have been sent.', rehearsal] },
    },
  },
  endpoints: {
    list: {
      route: 'GET /v1/endpoints',
      id: 'listEndpoints',
      tag: 'Endpoints',
      summary: 'List endpoints',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      answers: {
        200: [
          'All configured endpoints, then webhooks of watches that are not well.',
          endpointList,
        ],
      },
    },
    test: {
      route: 'POST /v1/endpoints/{name}/test',
      id: 'testEndpoint',
      tag: 'Endpoints',
      summary: 'Send an event of the type runwatch.test now',
      description:
        'It goes out at once, also to an endpoint that is paused, failing or disabled. `delivered` says whether the receiver took it.',
      scope: 'admin',
      sends: true,
      sources: 'refused',
      // The receiver has up to 30 s by configuration.
      limitMs: 45_000,
      params: endpointParams,
      answers: {
        200: ['What the receiver made of it.', endpointTest],
        ...NOT_ONE_ENDPOINT,
        409: 'This daemon has not the key that the signing secret was encrypted with.',
      },
    },
    pause: {
      route: 'POST /v1/endpoints/{name}/pause',
      id: 'pauseEndpoint',
      tag: 'Endpoints',
      summary: 'Keep the deliveries of an endpoint until it is resumed',
      scope: 'admin',
      sources: 'refused',
      params: endpointParams,
      answers: { 200: ['The endpoint as it is now.', endpointSchema], ...NOT_ONE_ENDPOINT },
    },
    resume: {
      route: 'POST /v1/endpoints/{name}/resume',
      id: 'resumeEndpoint',
      tag: 'Endpoints',
      summary: 'Deliver again to an endpoint that is paused, disabled or throttled',
      scope: 'admin',
      sources: 'refused',
      params: endpointParams,
      answers: { 200: ['The endpoint as it is now.', endpointSchema], ...NOT_ONE_ENDPOINT },
    },
    retry: {
      route: 'POST /v1/endpoints/{name}/retry',
      id: 'retryEndpoint',
      tag: 'Endpoints',
      summary: 'Make all that waits at an endpoint due now',
      description:
        'Where its circuit breaker is open, one delivery probes at once, and the others follow when that succeeds. Nothing goes to an endpoint that is paused.',
      scope: 'admin',
      sends: true,
      sources: 'refused',
      params: endpointParams,
      answers: {
        200: ['How many deliveries wait there and are due now.', redeliverCount],
        ...NOT_ONE_ENDPOINT,
      },
    },
    secret: {
      route: 'GET /v1/endpoints/{name}/secret',
      id: 'getEndpointSecret',
      tag: 'Endpoints',
      summary: 'Show the secret of an endpoint that has none of its own',
      description:
        'It is derived from the name of the endpoint and the signing secret of this installation. A secret that was configured, or made by a rotation, is shown nowhere.',
      scope: 'admin',
      sources: 'refused',
      params: endpointParams,
      answers: {
        200: ['The secret that signs for it.', endpointSecret],
        ...NOT_ONE_ENDPOINT,
        409: 'Its secret was configured or rotated, or it signs nothing.',
      },
    },
    rotate: {
      route: 'POST /v1/endpoints/{name}/rotate',
      id: 'rotateEndpointSecret',
      tag: 'Endpoints',
      summary: 'Make a new signing secret',
      description:
        'The new secret signs from now on; for as long as `overlap` says the old one signs too, so that the receiver takes either. Secrets of earlier rotations sign on until the time that was promised for each, three in all at the most; `now` ends all old ones at once, whatever `overlap` says.',
      scope: 'admin',
      sources: 'refused',
      params: endpointParams,
      body: rotateRequest,
      answers: {
        200: ['The new secret, shown this once.', rotatedSecret],
        ...NOT_ONE_ENDPOINT,
        409: 'The endpoint has no secret of its own, three secrets sign already, or several webhooks of watches are shown by this name.',
      },
    },
  },
  webhooks: {
    list: {
      route: 'GET /v1/webhooks',
      id: 'listWebhooks',
      tag: 'Endpoints',
      summary: 'List webhooks of active watches and of batches, and which tokens registered them',
      description:
        'By masked URL, those of batches that have not completed, then those of the newest watches: up to 200, of up to 10,000 watches.',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: webhookQuery,
      answers: { 200: ['The webhooks.', webhookList] },
    },
    end: {
      route: 'DELETE /v1/webhooks',
      id: 'endWebhooks',
      tag: 'Endpoints',
      summary:
        'End webhooks of watches and batches: all that a token registered, or all of a source',
      description:
        'Their watches and batches go on, a batch without endpoints by what hears of its runs, and deliveries that were planned before still go out. A webhook that another token registered too goes on for that one. `token` or `source` is needed.',
      scope: 'admin',
      sources: 'limited',
      query: webhookQuery,
      answers: { 200: ['How many have ended.', endedWebhooks] },
    },
  },
  lookup: {
    find: {
      route: 'GET /v1/lookup',
      id: 'lookup',
      tag: 'Watches',
      summary: 'Find ids by a part of them, and runs by their URLs',
      description:
        'For people who type a part of an id, or paste the URL of a run. Runs are found among all watches, also by the last part of an id with slashes; events and deliveries among the newest 5,000.',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: lookupQuery,
      answers: { 200: ['What was found; perhaps nothing.', lookupAnswer] },
    },
  },
  workflows: {
    list: {
      route: 'GET /v1/workflows',
      id: 'listWorkflows',
      tag: 'Watches',
      summary: 'List workflows: how their runs go',
      description:
        'Those with the most runs first. Counts are of whole spans: of 5 minutes for the last hours, of hours for two days, else of days.',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: workflowQuery,
      answers: { 200: ['The workflows.', workflowList] },
    },
    acknowledge: {
      route: 'POST /v1/workflows/{source}/{workflow_id}/acknowledge',
      id: 'acknowledgeWorkflow',
      tag: 'Attention',
      summary: 'Say that the failures of a workflow are taken in hand',
      description:
        'Those so far, and further ones until a run completes and none has failed for five minutes, or until the time that is given. The alerts of rules about the failures of the workflow are acknowledged in the same step.',
      scope: 'write',
      sources: 'limited',
      params: workflowParams,
      body: acknowledgeRequest,
      answers: {
        200: ['The failures are acknowledged.', acknowledgedFailures],
        404: UNKNOWN_SOURCE,
        409: NO_FAILURES,
      },
    },
    withdraw: {
      route: 'DELETE /v1/workflows/{source}/{workflow_id}/acknowledge',
      id: 'unacknowledgeWorkflow',
      tag: 'Attention',
      summary: 'Take back that the failures of a workflow are taken in hand',
      scope: 'write',
      sources: 'limited',
      params: workflowParams,
      answers: {
        204: 'The failures are not acknowledged any more.',
        404: UNKNOWN_SOURCE,
        409: NO_FAILURES,
      },
    },
  },
  polling: {
    list: {
      route: 'GET /v1/polling',
      id: 'listPolling',
      tag: 'Polling',
      summary: 'List workflows: how long their runs take, and how well they are polled',
      description:
        'The workflow that became known last comes first. By `workflow_id`, there is one for each source that has it.',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: pollingQuery,
      answers: {
        200: ['A page of workflows.', pollingPage],
        404: 'Nothing is known of this workflow.',
        ...STALE_CURSOR,
      },
    },
  },
  processes: {
    list: {
      route: 'GET /v1/processes',
      id: 'listProcesses',
      tag: 'Processes',
      summary: 'List the daemons on this store, the one that started first first',
      scope: 'read',
      sources: 'any',
      answers: { 200: ['The processes.', processList] },
    },
  },
  storage: {
    describe: {
      route: 'GET /v1/store',
      id: 'describeStore',
      tag: 'Processes',
      summary: 'Show how Redis keeps its data, and what its memory is used for',
      scope: 'read',
      sources: 'any',
      answers: { 200: ['What is known of Redis.', storeSchema] },
    },
  },
  sources: {
    list: {
      route: 'GET /v1/sources',
      id: 'listSources',
      tag: 'Sources',
      summary: 'List sources, and whether they answer',
      scope: 'read',
      sources: 'limited',
      answers: { 200: ['All configured sources.', sourceList] },
    },
    resume: {
      route: 'POST /v1/sources/{name}/resume',
      id: 'resumeSource',
      tag: 'Sources',
      summary: 'Lift the pause of a source',
      description:
        'Runs are polled again at once. A source that still does not answer is paused again.',
      scope: 'admin',
      sources: 'limited',
      params: sourceParams,
      answers: { 200: ['The source as it is now.', sourceSchema], 404: UNKNOWN_SOURCE },
    },
    acknowledge: {
      route: 'POST /v1/sources/{name}/acknowledge',
      id: 'acknowledgeSource',
      tag: 'Attention',
      summary: 'Say that the failures of runs without a workflow are taken in hand',
      description:
        'As for the failures of a workflow, for those runs of the source that have none.',
      scope: 'write',
      sources: 'limited',
      params: sourceParams,
      body: acknowledgeRequest,
      answers: {
        200: ['The failures are acknowledged.', acknowledgedFailures],
        404: UNKNOWN_SOURCE,
        409: NO_FAILURES,
      },
    },
    withdraw: {
      route: 'DELETE /v1/sources/{name}/acknowledge',
      id: 'unacknowledgeSource',
      tag: 'Attention',
      summary: 'Take back that the failures of runs without a workflow are taken in hand',
      scope: 'write',
      sources: 'limited',
      params: sourceParams,
      answers: {
        204: 'The failures are not acknowledged any more.',
        404: UNKNOWN_SOURCE,
        409: NO_FAILURES,
      },
    },
  },
  audit: {
    list: {
      route: 'GET /v1/audit',
      id: 'listAudit',
      tag: 'Audit',
      summary: 'List what users did, newest first',
      description:
        'Who acknowledged, silenced, resolved, paused, resumed, retried, rotated, redelivered, stopped or purged what. Up to 10,000 records are kept, for as long as watches are. A token for some sources sees what concerns these alone.',
      scope: 'admin',
      sources: 'limited',
      isHeavy: true,
      query: auditQuery,
      answers: { 200: ['A page of records.', auditPage], ...STALE_CURSOR },
    },
  },
  attention: {
    list: {
      route: 'GET /v1/attention',
      id: 'listAttention',
      tag: 'Attention',
      summary: 'List what needs a person, an entry for each cause, heaviest first',
      description:
        'Failures of a workflow are listed without any rule: those since its last completed run, until a user acknowledges them, or a run completes and none has failed for five minutes. Where an alert of a rule is about failures or runs, the alert stands for them. What a user has acknowledged is left out, as is what a silence, a mute or another alert suppresses. Nothing ends a run that is gone, or a dead delivery: these are named for a week. A token for some sources sees what is of these.',
      scope: 'read',
      sources: 'limited',
      isHeavy: true,
      query: attentionQuery,
      answers: { 200: ['What needs a person.', attentionPage] },
    },
  },
} satisfies Record<string, Record<string, Route>>;

export type Routes = typeof routes;

/** Method and path of a route of the table. */
export type RouteText = {
  [S in keyof Routes]: { [N in keyof Routes[S]]: TextOf<Routes[S][N]> }[keyof Routes[S]];
}[keyof Routes];

type TextOf<R> = R extends { route: infer Text } ? Text : never;

/** What the token of a call of some routes is good for. */
export type ScopeOf<Text extends RouteText> = {
  [S in keyof Routes]: {
    [N in keyof Routes[S]]: Routes[S][N] extends { route: Text; scope: infer Scope }
      ? Scope
      : never;
  }[keyof Routes[S]];
}[keyof Routes];

/** The parts of a request that a route gives schemas for. */
type Part = 'params' | 'query' | 'body';

/** What a request holds once its route's schemas have checked it. */
export type Checked<R extends Route> = {
  [P in keyof R & Part]: R[P] extends z.ZodType ? z.output<R[P]> : never;
};

/** What a request to a route is made of. */
export type Given<R extends Route> = {
  [P in keyof R & Part]: R[P] extends z.ZodType
    ? P extends 'query'
      ? QueryOf<R[P]>
      : z.input<R[P]>
    : never;
};

/** The fields of a query; one that is undefined is left out. */
export type QueryOf<Schema extends z.ZodType> = {
  [Name in keyof z.input<Schema>]: z.input<Schema>[Name] | undefined;
};

/** What is no JSON is written by its slice. */
type BodyOf<A> = A extends readonly [string, infer S extends z.ZodType]
  ? z.output<S>
  : A extends Body
    ? void
    : never;

/** The body that a route answers with; none for one that answers 204. */
export type Answer<R extends Route> = R['answers'] extends { 204: string }
  ? void
  : { [Status in keyof R['answers']]: BodyOf<R['answers'][Status]> }[keyof R['answers']];
