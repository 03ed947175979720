import { shownAlert } from '../../alert/event.ts';
import { silenceState, type Silence } from '../../core/alert/silence.ts';
import { endOf, momentOf } from '../../core/time.ts';
import type {
  AlertService,
  RuleService,
  SilenceService,
  SilenceView,
} from '../../http/services.ts';
import type { AlertStore } from '../../redis/stores/alert-store.ts';
import type { AlertRules } from '../alert-rules.ts';
import type { Alerting } from '../alerting.ts';

interface AlertServicesDependencies {
  alerts: AlertStore;
  alertRules: AlertRules;
  alerting: Alerting;
  now: () => number;
}

/** The services behind alerts, silences and the trial of rules. */
export function createAlertServices(deps: AlertServicesDependencies): {
  alerts: AlertService;
  silences: SilenceService;
  rules: RuleService;
} {
  const { alertRules, alerting, now } = deps;
  return {
    alerts: createAlertService(deps),
    silences: createSilenceService(deps),
    rules: {
      async rehearse(from, sections) {
        const isOther = Object.keys(sections).length > 0;
        const rules = isOther ? alertRules.tried(sections) : alertRules;
        if ('findings' in rules) return rules;
        const until = now();
        const since = momentOf(from, until);
        const names = rules.book.all.map(({ name }) => name);
        return { names, ...(await alerting.rehearse(since, rules)), since, until };
      },
    },
  };
}

function createAlertService({ alerts, alerting, now }: AlertServicesDependencies): AlertService {
  return {
    list: (query) => alerts.list(query),
    get: (id) => alerts.get(id),
    async showAll(all, sources) {
      const suppressors = await alerting.suppressorsOf(all, sources);
      return all.map((one) => shownAlert(one, alerting.urlOf(one), suppressors.get(one.id)));
    },
    async show(alert, sources) {
      const suppressors = await alerting.suppressorsOf([alert], sources);
      return shownAlert(alert, alerting.urlOf(alert), suppressors.get(alert.id));
    },
    async acknowledge(id, { by, comment, until }) {
      const at = now();
      const end = until === undefined ? null : endOf(until, at);
      if (end !== null && end <= at) return 'past';
      return alerting.acknowledge(id, { by, comment: comment ?? null, until: end });
    },
    resolve: (id, { by, comment }) => alerting.resolve(id, { by, comment: comment ?? null }),
    withdraw: (id) => alerting.acknowledge(id, null),
  };
}

/** How far ahead a silence may end, ms. */
const LONGEST_SILENCE_MS = 365 * 86_400_000;

function createSilenceService({ alerting, now }: AlertServicesDependencies): SilenceService {
  const { silences } = alerting;
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
