"""What both HTTP servers share: limits on connections, who may ask, problem documents, a log line per request."""
