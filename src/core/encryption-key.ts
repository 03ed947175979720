export const ENCRYPTION_KEY_BYTES = 32;

/**
 * Reads a key for AES-256-GCM: 64 hexadecimal digits, or base64 with or without padding.
 * @returns the 32 bytes, or null when the text is no such key
 */
export function decodeEncryptionKey(text: string): Buffer | null {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  // Node skips characters outside base64: a misspelt key must not become another key.
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === ENCRYPTION_KEY_BYTES ? bytes : null;
}
