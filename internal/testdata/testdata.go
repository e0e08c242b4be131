// Package testdata finds the shared reference data that TestData… tests run on.
// Only tests import it.
package testdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder of reference data: the environment variable
// SELKIE_DATA, or ../shared/data beside the repository. The test is skipped
// when that folder does not exist; it fails when the folder exists but is empty.
func Dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SELKIE_DATA")
	if dir == "" {
		dir = filepath.Join(repositoryRoot(t), "..", "shared", "data")
	}
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		t.Skipf("reference data not found at %s: set SELKIE_DATA to run this test", dir)
	}
	if err != nil {
		t.Fatalf("reading reference data: %v", err)
	}
	if len(entries) == 0 {
		t.Fatalf("reference data folder %s is empty", dir)
	}
	return dir
}

// repositoryRoot walks up from the test's folder to the one that holds go.mod.
func repositoryRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}
