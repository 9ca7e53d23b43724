"""What tests share: real Redis servers, real services, a proxy that breaks connections."""
