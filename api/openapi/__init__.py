"""What the API says of itself: `/openapi.json`, made from the routes and their models, and `/docs`."""
