import { ApiServer, type ApiAnswer, type ApiRequest } from './apis/api-server.ts';

/** An API that answers what a test says. */
export class ScriptedApi extends ApiServer {
  /** Asked for each request. */
  reply: (request: ApiRequest) => ApiAnswer = () => ({ status: 404, body: {} });

  protected answer(request: ApiRequest): ApiAnswer {
    return this.reply(request);
  }
}
