"""Reads a video with MediaPipe's Face Mesh solution and prints the frames, the faces in them, and the seconds.

Usage: PYTHONPATH=target/bench-mediapipe scripts/bench_clip.py VIDEO
"""

import sys
import time

import cv2
import mediapipe


def main(path):
    video = cv2.VideoCapture(path)
    frames = faces = 0
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=False, max_num_faces=5) as mesh:
        start = time.perf_counter()
        while True:
            more, frame = video.read()
            if not more:
                break
            frames += 1
            faces += len(mesh.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).multi_face_landmarks or [])
        print(frames, faces, time.perf_counter() - start)


if __name__ == "__main__":
    main(*sys.argv[1:])
