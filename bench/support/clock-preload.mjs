// Loaded into a daemon (`node --import …`) whose wall clock is to be wrong: by the ms that it is told.
const RealDate = Date;
let aheadMs = 0;
globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length > 0) super(...given);
    else super(RealDate.now() + aheadMs);
  }
  static now() {
    return RealDate.now() + aheadMs;
  }
};
process.on('message', (message) => {
  aheadMs = message.aheadMs;
});
process.channel.unref();
