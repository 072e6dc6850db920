"""What the doctor looks at, one module for each part of a host; reading what is there apart from judging it."""
