import { z } from 'zod';
import { ID_PATTERN } from '../core/run/id.ts';
import { KNOWN_STATUSES } from '../core/run/snapshot.ts';
import { parsePath, PATH_SHAPE, WHOLE_DOCUMENT } from '../core/source/json-path.ts';
import {
  ID_TEMPLATE_SHAPE,
  PAGE_PARTS,
  parseIdTemplate,
  parseRequestTemplate,
  type IdTemplate,
} from '../core/source/run-template.ts';
import {
  duration,
  flag,
  integer,
  presentations,
  proxyUrl,
  runUrlTemplate,
  secretText,
  serviceUrl,
  urlTemplateProblem,
  wholeNumber,
} from './fields.ts';
import { headerName, HEADER_VALUE, isHeaderValue } from './headers.ts';
import { NOXUS_URL } from './hosts.ts';

/** Each workflow has a list of its own to be read. */
const MOST_WORKFLOWS = 20;

/** Stands for the runs of every workflow, in the place of ids. */
export const ALL_WORKFLOWS = 'all';

const EXPECTED = 'expected all, or a list of workflow ids';

function listOfOne(input: unknown): unknown {
  return input === ALL_WORKFLOWS ? [input] : input;
}

const workflowId = z
  .string({ error: 'expected the id of a workflow' })
  .regex(ID_PATTERN, 'expected the id of a workflow');

const workflows = z.preprocess(
  listOfOne,
  z
    .array(workflowId, { error: EXPECTED })
    .min(1, EXPECTED)
    .max(MOST_WORKFLOWS, `expected at most ${MOST_WORKFLOWS} workflow ids; all is one list for all`)
    .refine((ids) => ids.length === 1 || !ids.includes(ALL_WORKFLOWS), {
      error: 'expected either all or workflow ids',
    })
    .refine((ids) => new Set(ids).size === ids.length, { error: 'expected each workflow once' }),
);

const SINCE = 'expected registration, or a time such as 2025-05-04T10:00:00Z';

/** From when on runs are discovered: the first reading of the list, or a time. */
const discoverSince = z.union(
  [z.literal('registration'), z.iso.datetime({ offset: true, error: SINCE })],
  { error: SINCE },
);

const DISCOVERED = {
  since: discoverSince.default('registration'),
  every: duration('10s', { min: '100ms', max: '1h' }),
};

/** Watches runs without registration, as they appear in the lists of a source. */
const discover = z.strictObject({ workflows, ...DISCOVERED });

const API_KEY = 'expected the API key of a Noxus workspace';

const apiKey = secretText(API_KEY, { min: 1 }).regex(/^[\x20-\x7e]*$/, `${API_KEY}: plain ASCII`);

/** How any source is asked. */
const REACHED = {
  timeout: duration('10s', { min: '100ms', max: '60s' }),
  rate_limit: z
    .strictObject({
      requests: integer(10, 1, 100_000),
      per: duration('1s', { min: '100ms', max: '1h' }),
    })
    .prefault({}),
};

/** How the servers of any source are reached. */
const CONNECTED = {
  /** The authorities that are trusted, in PEM, in place of those that Node knows. */
  ca_file: z.string().min(1, 'expected the path of a file').optional(),
  /** Of HTTPS_PROXY where it names none; `NO_PROXY` makes exceptions. */
  proxy: proxyUrl.optional(),
};

const noxusSource = z.strictObject({
  type: z.literal('noxus').optional(),
  base_url: serviceUrl.default(NOXUS_URL),
  api_key: apiKey,
  ...REACHED,
  /** The address of a run in the app of its source. */
  run_url: runUrlTemplate.optional(),
  discover: discover.optional(),
  ...CONNECTED,
});

/** Headers of the connection, and those that runwatch sets itself. */
const RESERVED =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|host|content-length|accept-encoding|if-none-match)$/i;

const ownHeaderName = headerName.refine((text) => !RESERVED.test(text), 'this header is reserved');

const headerValue = secretText(HEADER_VALUE, { min: 1 }).refine(isHeaderValue, HEADER_VALUE);

const path = z
  .string({ error: `expected ${PATH_SHAPE}` })
  .refine((text) => parsePath(text) !== null, `expected ${PATH_SHAPE}`)
  .register(presentations, { as: 'template' });

function asList(input: unknown): unknown {
  return Array.isArray(input) || input === undefined ? input : [input];
}

const PATHS = `expected ${PATH_SHAPE}, or a list of such paths, of which the first with a value counts`;

const paths = z.preprocess(asList, z.array(path, { error: PATHS }).min(1, PATHS).max(8, PATHS));

/** Numbers, true and false are words too. */
function asWord(input: unknown): unknown {
  return typeof input === 'number' || typeof input === 'boolean' ? String(input) : input;
}

const WORD = "expected a word of the source, or '*' for all others";

const word = z.preprocess(asWord, z.string({ error: WORD }).min(1, WORD).max(1_024, WORD));

const WORDS = "expected a list of words of the source, such as [success, skipped], or ['*']";

const STATUS = `expected one of ${KNOWN_STATUSES.join(', ')}`;

const status = z.enum(KNOWN_STATUSES, { error: STATUS });

const states = z
  .partialRecord(status, z.preprocess(asList, z.array(word, { error: WORDS }).min(1, WORDS)), {
    error: ({ code }) =>
      code === 'invalid_type' ? 'expected a map of our statuses to words of the source' : STATUS,
  })
  .refine((given) => Object.keys(given).length > 0, {
    error: 'expected at least one status with its words',
    when: ({ issues }) => issues.length === 0,
  });

/** What the braces hold is checked where the parts of ids are known. */
const request = requestText('expected a path such as /runs/{run}');

function requestText(error: string) {
  return z.string({ error }).register(presentations, { as: 'template' });
}

const PROGRESS = 'expected a path to a number up to 100, or { done: path, total: path }';

const progress = z.union([path, z.strictObject({ done: path, total: path })], { error: PROGRESS });

const pathToList = z
  .string({ error: `expected ${PATH_SHAPE} that leads to a list, or ${WHOLE_DOCUMENT}` })
  .refine((text) => text === WHOLE_DOCUMENT || parsePath(text) !== null, {
    error: `expected ${PATH_SHAPE} that leads to a list, or ${WHOLE_DOCUMENT}`,
  })
  .register(presentations, { as: 'template' });

const LIST_ID = `expected ${PATH_SHAPE}, or one for each part of the id, such as { dag: $.dag_id, run: $.id }`;

/** The newest runs of all workflows. What is not given here stands in an item where it stands in a run. */
const list = z.strictObject({
  get: requestText('expected a path such as /runs?limit={size}&offset={offset}'),
  items: pathToList,
  id: z.union([path, z.record(z.string(), path)], { error: LIST_ID }).optional(),
  status: paths.optional(),
  created: path.optional(),
  progress: progress.optional(),
  attempt: path.optional(),
  /** The most items that the source gives on a page. */
  size: integer(100, 1, 1_000),
  /** The number of the page with the newest runs. */
  first_page: integer(1, 0, 1),
});

const ONE_LIST = 'expected all: the list of such a source is one of the runs of all workflows';

const discoverInList = z.strictObject({
  workflows: z
    .preprocess(listOfOne, z.tuple([z.literal(ALL_WORKFLOWS, { error: ONE_LIST })], ONE_LIST))
    .default([ALL_WORKFLOWS]),
  ...DISCOVERED,
});

const ERROR_STATUS = 'expected HTTP statuses from 400 to 599, such as [404, 410]';

const errorStatuses = z
  .array(wholeNumber(400, 599), { error: ERROR_STATUS })
  .min(1, ERROR_STATUS)
  .max(20, ERROR_STATUS);

const declaredHttpSource = z.strictObject({
  type: z.literal('http'),
  base_url: serviceUrl.refine((text) => !/[?#]/.test(text), 'expected a URL without ? and #'),
  /** All of it is secret. */
  headers: z.record(ownHeaderName, headerValue).default({}),
  /** The parts of an id; the last one takes what is left. */
  id: z
    .string({ error: `expected ${ID_TEMPLATE_SHAPE}` })
    .refine((text) => parseIdTemplate(text) !== null, `expected ${ID_TEMPLATE_SHAPE}`)
    .register(presentations, { as: 'template' })
    .default('{run}'),
  /** The request that reads a run, and where its fields stand in the answer. */
  run: z.strictObject({
    get: request,
    id: path,
    status: paths,
    workflow: path.optional(),
    workflow_name: path.optional(),
    created: path.optional(),
    started: path.optional(),
    finished: path.optional(),
    progress: progress.optional(),
    /** Which attempt of the run this is, from 1: then a run may live again after its end. */
    attempt: path.optional(),
  }),
  /** Our statuses, each with the words of the source that mean it. */
  states,
  /** The status of a run where no path of `status` has a value. */
  absent: status.optional(),
  /** A second read, which the first one needs to be understood. */
  also: z
    .strictObject({
      when: z.preprocess(asList, z.array(status, { error: STATUS }).min(1, STATUS)),
      get: request,
      id: path.optional(),
      status: paths,
      states,
    })
    .optional(),
  /** Stands in for single polls, and shows new runs. */
  list: list.optional(),
  discover: discoverInList.optional(),
  errors: z
    .strictObject({
      /** There is no such run, where the answer is JSON. */
      gone: errorStatuses.default([404, 410]),
      rate_limited: errorStatuses.default([429]),
      /** The header with the requests that are left. */
      rate_limit_remaining: ownHeaderName.optional(),
      /** The header with the time at which there are more, in seconds since the epoch. */
      rate_limit_reset: ownHeaderName.optional(),
    })
    .prefault({}),
  /** Whether requests say what is known (`If-None-Match`). */
  conditional: flag(false),
  /** The cheapest request that shows, without a run, whether the source answers. */
  probe: request.optional(),
  run_url: requestText('expected a URL such as https://app.example/{run}').optional(),
  ...REACHED,
  ...CONNECTED,
});

type DeclaredHttpSource = z.output<typeof declaredHttpSource>;

const httpSource = declaredHttpSource.superRefine((source, context) => {
  for (const { path: at, message } of problemsOf(source)) {
    context.addIssue({ code: 'custom', path: [...at], message });
  }
});

/** A workspace of Noxus, or an API that the configuration declares. */
export const source = z.discriminatedUnion('type', [noxusSource, httpSource]);

interface Problem {
  path: readonly (string | number)[];
  message: string;
}

/** What only shows when the keys of a declared source are seen together. */
function problemsOf(given: DeclaredHttpSource): Problem[] {
  const parts = parseIdTemplate(given.id);
  if (parts === null) return [];
  const { also, probe, list: listed } = given;
  return [
    ...headerProblems(given),
    ...runRequestProblems(['run', 'get'], given.run.get, { given, parts }),
    ...missingPart(given.run.get, parts),
    ...(also === undefined ? [] : runRequestProblems(['also', 'get'], also.get, { given, parts })),
    ...(probe === undefined ? [] : requestProblems(['probe'], probe, [])),
    ...(listed === undefined ? withoutList(given) : listProblems(given, listed, parts)),
    ...wordProblems(['states'], given.states),
    ...(also === undefined ? [] : secondProblems(given, also)),
    ...errorProblems(given),
    ...runUrlProblems(given, parts),
  ];
}

/** Names of headers are the same in capitals, so one of the two would be lost. */
function headerProblems({ headers }: DeclaredHttpSource): Problem[] {
  const names = Object.keys(headers);
  return names.flatMap((name, at) =>
    names.slice(0, at).some((other) => other.toLowerCase() === name.toLowerCase())
      ? [{ path: ['headers', name], message: 'this header is given twice' }]
      : [],
  );
}

function requestProblems(at: Problem['path'], text: string, parts: IdTemplate): Problem[] {
  const parsed = parseRequestTemplate(text, parts);
  return 'template' in parsed ? [] : [{ path: at, message: `expected ${parsed.expected}` }];
}

/** A request with other parts than those of the id may well be right, and `id` left out. */
function runRequestProblems(
  at: Problem['path'],
  text: string,
  { given, parts }: { given: DeclaredHttpSource; parts: IdTemplate },
): Problem[] {
  const hint = namesInBraces(text).every((name) => parts.includes(name))
    ? ''
    : idHint(given, parts);
  return requestProblems(at, text, parts).map(({ path: where, message }) => ({
    path: where,
    message: `${message}${hint}`,
  }));
}

function namesInBraces(text: string): string[] {
  return [...text.matchAll(/\{([^{}]*)\}/g)].map(([, name = '']) => name);
}

const ONLY_RUN = 'run';

/** Which parts an id has, or could have by the requests. */
function idHint({ run, also }: DeclaredHttpSource, parts: IdTemplate): string {
  if (parts.join('/') !== ONLY_RUN) return ', the parts that id declares';
  const names = new Set(namesInBraces(`${run.get}${also?.get ?? ''}`));
  // What is called run is the last part, which takes what is left.
  const others = [...names].filter((name) => name !== ONLY_RUN);
  const id = (names.has(ONLY_RUN) ? [...others, ONLY_RUN] : others)
    .map((name) => `{${name}}`)
    .join('/');
  return parseIdTemplate(id) === null ? '' : `, unless id declares others, as id: '${id}' does`;
}

/** Without the part that names the run, all runs would have the same answer. */
function missingPart(get: string, parts: IdTemplate): Problem[] {
  const last = `{${parts.at(-1)}}`;
  if (get.includes(last)) return [];
  return [{ path: ['run', 'get'], message: `expected ${last} in it, which names the run` }];
}

function withoutList({ discover: wanted }: DeclaredHttpSource): Problem[] {
  if (wanted === undefined) return [];
  return [{ path: ['discover'], message: 'expected list beside it, in which runs are discovered' }];
}

function listProblems(
  { run }: DeclaredHttpSource,
  { get, id, created = run.created, attempt }: NonNullable<DeclaredHttpSource['list']>,
  parts: IdTemplate,
): Problem[] {
  const both = get.includes('{page}') && get.includes('{offset}');
  const undated = 'expected a path, here or in run: a list is read by when its runs were created';
  return [
    ...requestProblems(['list', 'get'], get, PAGE_PARTS),
    ...(both ? [{ path: ['list', 'get'], message: 'expected {page} or {offset}, not both' }] : []),
    ...listIdProblems(id, parts),
    ...(created === undefined ? [{ path: ['list', 'created'], message: undated }] : []),
    ...(attempt !== undefined && run.attempt === undefined
      ? [{ path: ['list', 'attempt'], message: 'expected run.attempt beside it' }]
      : []),
  ];
}

/** The path of the last part may be left out: it is that of the run. */
function listIdProblems(
  id: string | Record<string, string> | undefined,
  parts: IdTemplate,
): Problem[] {
  const others = parts.slice(0, -1);
  const message = `expected a path for each part of the id: { ${parts.map((part) => `${part}: $.…`).join(', ')} }`;
  if (typeof id !== 'object') {
    return others.length === 0 ? [] : [{ path: ['list', 'id'], message }];
  }
  const unknown = Object.keys(id).filter((name) => !parts.includes(name));
  const isWhole = others.every((part) => id[part] !== undefined);
  return [
    ...unknown.map((name) => ({ path: ['list', 'id', name], message })),
    ...(isWhole || unknown.length > 0 ? [] : [{ path: ['list', 'id'], message }]),
  ];
}

function wordProblems(at: Problem['path'], given: DeclaredHttpSource['states']): Problem[] {
  const meanings = new Map<string, string>();
  return Object.entries(given).flatMap(([name, words]) =>
    words.flatMap((one, index) => {
      const earlier = meanings.get(one);
      meanings.set(one, name);
      if (earlier === undefined) return [];
      const where = earlier === name ? 'here' : `under ${earlier}`;
      const message = `expected each word once, and this one stands ${where} already`;
      return [{ path: [...at, name, index], message }];
    }),
  );
}

function secondProblems(
  { states: first, absent, rate_limit: limit }: DeclaredHttpSource,
  also: NonNullable<DeclaredHttpSource['also']>,
): Problem[] {
  const unknown = also.when.findIndex((one) => first[one] === undefined && absent !== one);
  const never = 'expected a status that has words in states';
  const short = 'expected at least 2, since also takes two requests at once';
  return [
    ...wordProblems(['also', 'states'], also.states),
    ...(unknown === -1 ? [] : [{ path: ['also', 'when', unknown], message: never }]),
    ...(limit.requests > 1 ? [] : [{ path: ['rate_limit', 'requests'], message: short }]),
  ];
}

/** 401 is about the headers, whatever the run. */
function errorProblems({ errors }: DeclaredHttpSource): Problem[] {
  const { gone, rate_limited: limited, rate_limit_reset: reset } = errors;
  const both = limited.findIndex((one) => gone.includes(one));
  const atOnce = 'expected a status that errors.gone does not have';
  const refused = gone.indexOf(401);
  const remaining = 'expected rate_limit_remaining beside it, which says when it counts';
  return [
    ...(both === -1 ? [] : [{ path: ['errors', 'rate_limited', both], message: atOnce }]),
    ...(refused === -1
      ? []
      : [
          { path: ['errors', 'gone', refused], message: 'expected no 401: it refuses the headers' },
        ]),
    ...(reset !== undefined && errors.rate_limit_remaining === undefined
      ? [{ path: ['errors', 'rate_limit_reset'], message: remaining }]
      : []),
  ];
}

function runUrlProblems({ run_url: template }: DeclaredHttpSource, parts: IdTemplate): Problem[] {
  const message =
    template === undefined
      ? null
      : urlTemplateProblem(template, [...parts, 'run_id', 'workflow_id']);
  return message === null ? [] : [{ path: ['run_url'], message }];
}

/** The keys of a declared source in which nothing may come from the environment: they make up URLs. */
export const LITERAL_KEYS: readonly string[] = ['id', 'run', 'also', 'list', 'probe', 'states'];
