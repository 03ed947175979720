import type { Daemon } from '../daemon.ts';
import { AlertService, RuleService } from './alerts.ts';
import { AuditService } from './audit.ts';
import { AttentionService } from './attention.ts';
import { BatchService } from './batches.ts';
import { DeliveryService } from './deliveries.ts';
import { EndpointService } from './endpoints.ts';
import { EventService } from './events.ts';
import { Health } from './health.ts';
import { Repeats } from './idempotency.ts';
import { LookupService } from './lookup.ts';
import { SilenceService } from './silences.ts';
import { SourceService } from './sources.ts';
import { StopService } from './stop.ts';
import { ProcessService, StorageService } from './system.ts';
import { WatchService } from './watches.ts';
import { WebhookService } from './webhooks.ts';
import { PollingService, WorkflowService } from './workflows.ts';

/** What the HTTP server answers by: use cases for changes, stores for reads. */
export class Services {
  readonly watches: WatchService;
  readonly stops: StopService;
  readonly events: EventService;
  readonly deliveries: DeliveryService;
  readonly alerts: AlertService;
  readonly batches: BatchService;
  readonly silences: SilenceService;
  readonly rules: RuleService;
  readonly endpoints: EndpointService;
  readonly webhooks: WebhookService;
  readonly polling: PollingService;
  readonly workflows: WorkflowService;
  readonly lookup: LookupService;
  readonly storage: StorageService;
  readonly repeats: Repeats;
  readonly processes: ProcessService;
  readonly sources: SourceService;
  readonly attention: AttentionService;
  readonly audit: AuditService;
  readonly health: Health;

  constructor(daemon: Daemon) {
    const { alerting, deliverer, secrets, stores } = daemon;
    this.watches = new WatchService(daemon);
    this.batches = new BatchService(daemon);
    this.stops = new StopService(daemon, this.watches);
    this.events = new EventService(daemon);
    this.deliveries = new DeliveryService(deliverer);
    this.alerts = new AlertService(alerting);
    this.silences = new SilenceService(alerting);
    this.rules = new RuleService(alerting);
    this.endpoints = new EndpointService(daemon);
    this.webhooks = new WebhookService(daemon);
    this.polling = new PollingService(daemon);
    this.workflows = new WorkflowService(daemon);
    this.lookup = new LookupService(daemon);
    this.storage = new StorageService(daemon);
    this.repeats = new Repeats(stores.answers, secrets.sealer);
    this.processes = new ProcessService(daemon);
    this.sources = new SourceService(daemon);
    this.attention = new AttentionService(daemon);
    this.audit = new AuditService(daemon);
    this.health = new Health(daemon);
  }
}
