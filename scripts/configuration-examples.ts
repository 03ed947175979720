/** A file for each section of the configuration that is whole with a key of a workspace in the environment. */
export const EXAMPLES: Readonly<Record<string, string>> = {
  data_dir: `
data_dir: /var/lib/runwatch`,
  log: `
log:
  level: debug`,
  server: `
server:
  host: 0.0.0.0
  public_url: https://runwatch.example.com
auth:
  tokens: [{ name: ops, token: '\${RUNWATCH_API_TOKEN}' }]`,
  auth: `
auth:
  public: [docs]
  tokens:
    - name: ops
      token: '\${RUNWATCH_API_TOKEN}'
    - name: dashboards
      token: '\${DASHBOARD_TOKEN}'
      scopes: [read]`,
  redis: `
redis:
  maxmemory: 2gb`,
  sources: `
sources:
  default:
    api_key: '\${NOXUS_API_KEY}'
    discover: { workflows: all }
  jobs:
    type: http
    base_url: https://jobs.example.com/api
    headers: { authorization: 'Bearer \${JOBS_TOKEN}' }
    run: { get: '/jobs/{run}', id: $.id, status: $.state }
    states: { running: [busy], completed: [done], failed: [broken] }
    probe: /status`,
  workflows: `
workflows:
  3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11:
    name: invoices
    owner: '@ana'`,
  polling: `
polling:
  profile: frugal
  max_interval: 2m`,
  watches: `
watches:
  timeout: 1d
  retention: 90d
  remind_feedback: [1h, 8h, 24h]`,
  endpoints: `
endpoints:
  ops:
    type: webhook
    url: https://example.com/hooks
    secret: '\${OPS_SECRET}'
    events: [run.failed, run.awaiting_human_feedback]
    default: true
  chat:
    type: slack
    url: '\${SLACK_URL}'
    default: true`,
  rules: `
endpoints:
  chat: { type: slack, url: '\${SLACK_URL}' }
rules:
  - name: failed-runs
    events: [run.failed]
    group_by: [source, workflow_id]
    notify: [chat]
  - name: too-slow
    deadline: { interval: 2h }
    notify: [chat]`,
  time_intervals: `
endpoints:
  chat: { type: slack, url: '\${SLACK_URL}' }
rules:
  - name: failed-runs
    events: [run.failed]
    notify: [chat]
    mute_time_intervals: [weekend]
time_intervals:
  weekend:
    - weekdays: [saturday, sunday]
      location: Europe/Lisbon`,
  inhibit_rules: `
endpoints:
  chat: { type: slack, url: '\${SLACK_URL}' }
rules:
  - { name: source-down, events: [source.unreachable], notify: [chat] }
  - { name: failed-runs, events: [run.failed], group_by: [source], notify: [chat] }
inhibit_rules:
  - { source_rule: source-down, target_rule: failed-runs, equal: [source] }`,
  delivery: `
delivery:
  per_endpoint: 32
  retention: 90d`,
  egress: `
egress:
  allow: [10.20.0.0/16, 'hooks.internal:8080']`,
  heartbeat: `
heartbeat:
  url: '\${HEARTBEAT_URL}'
  every: 1m`,
  encryption: `
encryption:
  keys: ['\${NEW_KEY}', '\${OLD_KEY}']`,
};
