import type { Alerting } from '../../alert/alerting.ts';
import { alertUrl, shownAlert } from '../../alert/event.ts';
import { silenceState, type Silence } from '../../core/alert/silence.ts';
import { endOf, momentOf } from '../../core/time.ts';
import type {
  AlertService,
  RuleService,
  SilenceService,
  SilenceView,
} from '../../http/services.ts';

/** The services behind alerts, silences and the trial of rules. */
export function createAlertServices(alerting: Alerting): {
  alerts: AlertService;
  silences: SilenceService;
  rules: RuleService;
} {
  const { process, rehearsals, rules: inForce } = alerting;
  return {
    alerts: createAlertService(alerting),
    silences: createSilenceService(alerting),
    rules: {
      async rehearse(from, sections) {
        const isOther = Object.keys(sections).length > 0;
        const rules = isOther ? inForce.tried(sections) : inForce;
        if ('findings' in rules) return rules;
        const until = process.now();
        const since = momentOf(from, until);
        const names = rules.book.all.map(({ name }) => name);
        return { names, ...(await rehearsals.rehearse(since, rules)), since, until };
      },
    },
  };
}

function createAlertService(alerting: Alerting): AlertService {
  const { engine, process } = alerting;
  const { alerts } = process.stores;
  return {
    list: (query) => alerts.list(query),
    get: (id) => alerts.get(id),
    async showAll(all, sources) {
      const suppressors = await alerting.suppressorsOf(all, sources);
      return all.map((one) => shownAlert(one, alertUrl(process, one), suppressors.get(one.id)));
    },
    async show(alert, sources) {
      const suppressors = await alerting.suppressorsOf([alert], sources);
      return shownAlert(alert, alertUrl(process, alert), suppressors.get(alert.id));
    },
    async acknowledge(id, { by, comment, until }) {
      const at = process.now();
      const end = until === undefined ? null : endOf(until, at);
      if (end !== null && end <= at) return 'past';
      return engine.acknowledge(id, { by, comment: comment ?? null, until: end });
    },
    resolve: (id, { by, comment }) => engine.resolve(id, { by, comment: comment ?? null }),
    withdraw: (id) => engine.acknowledge(id, null),
  };
}

/** How far ahead a silence may end, ms. */
const LONGEST_SILENCE_MS = 365 * 86_400_000;

function createSilenceService({ process, silences }: Alerting): SilenceService {
  const { now } = process;
  const view = (silence: Silence): SilenceView => ({
    ...silence,
    state: silenceState(silence, now()),
  });
  return {
    async add({ until, startsAt: given, key, ...input }) {
      const at = now();
      const startsAt = given ?? at;
      const end = endOf(until, at);
      if (end <= Math.max(at, startsAt)) return 'past';
      if (end - at > LONGEST_SILENCE_MS) return 'far';
      const added = await silences.add({ ...input, startsAt, until: end, key: key ?? null });
      if (typeof added === 'string') return added;
      return { silence: view(added.silence), isNew: added.isNew };
    },
    list: async () => (await silences.list()).map(view),
    expire: (id) => silences.expire(id),
    preview: (matchers) => silences.preview(matchers),
  };
}
