/** When what is issued now ends, as the API tells it: ISO 8601, never later than the thing itself. */
export function expiryAt(nowMs: number, ttlSeconds: number): string {
  return new Date((Math.floor(nowMs / 1000) + ttlSeconds) * 1000).toISOString();
}
