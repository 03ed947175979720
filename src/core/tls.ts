/** Trust and identity of a TLS connection, in PEM. */
export interface TlsOptions {
  ca?: string;
  certificate?: string;
  key?: string;
}
