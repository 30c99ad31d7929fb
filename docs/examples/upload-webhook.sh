# Tells that an original has been uploaded. In the environment: API_URL, UPLOAD_WEBHOOK_SECRET.
id="msg_$(openssl rand -hex 12)"
timestamp="$(date +%s)"
body='{"type":"upload.completed","timestamp":"'"$(date -u +%FT%TZ)"'","data":{
  "fileId":"507f1f77bcf86cd799439011","clientName":"acme","projectName":"launch-film","fileName":"A001.mov",
  "sizeBytes":1234567,"source":{"kind":"wasabi","key":"originals/acme/launch-film/507f1f77bcf86cd799439011/A001.mov"}}}'
key="$(printf %s "${UPLOAD_WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')"
signature="$(printf %s "$id.$timestamp.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)"

curl --silent --show-error "$API_URL/v1/webhooks/upload" \
  -H "content-type: application/json" \
  -H "webhook-id: $id" -H "webhook-timestamp: $timestamp" -H "webhook-signature: v1,$signature" \
  --data-binary "$body"
