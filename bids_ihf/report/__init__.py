"""What a person looks at: figures of each image, a page for each participant and the group."""
