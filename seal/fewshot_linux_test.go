package seal

import (
	"errors"
	"syscall"
	"testing"
)

// On a disk that fills up a run ends with an error, and goes on to the same
// files once there is room.
func TestFewshotOnAFullDisk(t *testing.T) {
	s := tinyFewshotSettings()
	whole := t.TempDir()
	if _, err := ExecuteFewshot(t.Context(), whole, s, tinyFewshot(t, 1), Options{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("mounting a small file system needs rights: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	_, err := ExecuteFewshot(t.Context(), dir, s, tinyFewshot(t, 1), Options{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("on a disk of 16 KiB: %v", err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	if _, err := ExecuteFewshot(t.Context(), dir, s, tinyFewshot(t, 1), Options{}); err != nil {
		t.Fatal(err)
	}
	want, got := canonical(t, whole), canonical(t, dir)
	if d := diff(want, got); d != "" {
		t.Errorf("(-whole +resumed)\n%s", d)
	}
}
