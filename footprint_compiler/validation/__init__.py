"""Compare a build with its model tensor by tensor, and find the first that departs."""
